"""A bench as a picture: accuracy against speed, readable in grey and on paper."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ....graphs.errors import DllmEdgeError
from ....graphs.whole_file import write_whole
from ..terminal.evaluations import title_of
from .measure import Measured, baseline_of, by_length

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Every shape in every fill: no two of so many rows look alike.
MARKERS = [(shape, fill) for fill, shape in product(("black", "white", "0.65"), "osD^v<>PX*ph")]
LINE_HEIGHT = 0.22
"""Inches from one label to the next."""
LEAST_HEIGHT, WIDTH = 3.6, 9.0


def check_plot(file: Path) -> None:
    """Raise `DllmEdgeError`, before anything is decoded, where a picture cannot be drawn or `file` not be written."""
    if file.suffix.lower() != ".png":
        raise DllmEdgeError(f"--plot {file}: the picture is a PNG: give a name that ends with .png")
    if find_spec("matplotlib") is None:
        raise DllmEdgeError("--plot needs matplotlib: install with pip install 'dllm-edge[plot]'")
    if file.is_dir():
        raise DllmEdgeError(f"--plot {file}: is a folder: give the name of a file in it")
    trial = file.with_name(f".{file.name}.trial-{uuid4().hex[:8]}")
    try:
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        raise DllmEdgeError(f"--plot {file}: cannot be written ({error.strerror}): choose a folder that can be") from error


def write_plot(file: Path, measured: Sequence[Measured]) -> None:
    """Draw what was measured into a PNG file; raises `OSError` where that cannot be written."""
    picture = BytesIO()
    figure_of(measured).savefig(picture, format="png", dpi=150)
    write_whole(file, picture.getvalue())


def figure_of(measured: Sequence[Measured]) -> Figure:
    """Return a figure with a part for each length, one above the other."""
    from matplotlib.figure import Figure

    lengths = by_length(measured)
    heights = [max(LEAST_HEIGHT, 1.2 + LINE_HEIGHT * len(of_length)) for of_length in lengths]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    parts = figure.subplots(len(lengths), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, of_length in zip(parts, lengths, strict=True):
        _draw(axes, of_length)
    return figure


def _draw(axes: Axes, measured: Sequence[Measured]) -> None:
    """Draw one length: a mark for each composition, with its interval, and its sweep as a thin line."""
    for one, (shape, fill) in zip(measured, _markers(len(measured)), strict=True):
        low, high = (100 * bound for bound in one.evaluation.interval)
        accuracy = 100 * one.evaluation.accuracy
        axes.plot(*_sweep(one), color="0.7", linewidth=0.8, linestyle=":", zorder=1)
        axes.errorbar(
            one.speed,
            accuracy,
            yerr=[[max(0.0, accuracy - low)], [max(0.0, high - accuracy)]],
            fmt=shape,
            markersize=7,
            color="black",
            markerfacecolor=fill,
            ecolor="0.5",
            elinewidth=0.8,
            label=one.composition.label,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _position: f"{value:g}x")
    axes.xaxis.set_minor_formatter(lambda value, _position: f"{value:g}x" if f"{value:e}"[0] in "25" else "")
    axes.set_axisbelow(True)
    axes.set_title(title_of(measured[0].evaluation))
    axes.set(xlabel=f"speed over {baseline_of(measured)}", ylabel="accuracy, %, and its 95% interval")
    axes.grid(which="major", color="0.9")
    # Beside the marks, where no label can lie over another or over a mark.
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False)


def _sweep(one: Measured) -> tuple[list[float], list[float]]:
    """Return speeds and accuracies of a sweep, in the order of its values."""
    swept = list(one.swept.values())
    return [one.baseline.seconds / each.seconds for each in swept], [100 * each.accuracy for each in swept]


def _markers(count: int) -> list[tuple[Any, str]]:
    """Return a shape and a fill for each of `count` rows; they repeat only beyond 36."""
    return [MARKERS[index % len(MARKERS)] for index in range(count)]
