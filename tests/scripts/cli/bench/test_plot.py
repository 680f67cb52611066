from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.evaluation.evaluation import Evaluation
from dllm_edge.runtime.evaluation.outcome import Outcome
from dllm_edge.scripts.cli.bench.compositions import COMBINED, Composition, default_compositions, parse_composition
from dllm_edge.scripts.cli.bench.measure import Measured
from dllm_edge.scripts.cli.bench.plot import figure_of, write_plot

from ....runtime.numpy_engine import ENDLESS

COMPOSITIONS = default_compositions(ENDLESS)


def evaluation(right: int, seconds: float, length: int) -> Evaluation:
    outcome = Outcome("", "stop", 10, 10, 0, 400, seconds, 0.1, 0, 0)
    correct = [index < right for index in range(20)]
    return Evaluation("arithmetic", "vanilla", Settings(gen_length=length), correct, [outcome] * 20)


def measured(compositions: list[Composition], length: int) -> list[Measured]:
    """All within a narrow range, where labels beside the marks would lie over each other."""
    baseline = evaluation(20, 10.0, length)
    found = [Measured(compositions[0], baseline, baseline)]
    for index, composition in enumerate(compositions[1:]):
        own = evaluation(19 - index % 2, 5.0 + 0.01 * index, length)
        found.append(Measured(composition, own, baseline, "threshold", {0.9: own, 0.8: evaluation(18, 4.0, length)}))
    return found


def test_it_is_a_png(tmp_path: Path) -> None:
    write_plot(tmp_path / "out.png", measured(COMPOSITIONS, 256))
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert [file.name for file in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.parametrize("lengths", [(256,), (256, 512)])
def test_every_composition_is_labelled_and_no_label_lies_over_another(lengths: tuple[int, ...]) -> None:
    figure = figure_of([one for length in lengths for one in measured(COMPOSITIONS, length)])
    figure.draw_without_rendering()
    assert len(figure.axes) == len(lengths)
    labels = []
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == [one.label for one in COMPOSITIONS]
        labels += [text.get_window_extent() for text in legend.get_texts()]
        assert not any(extent.overlaps(axes.bbox) for extent in labels[-len(COMPOSITIONS) :])
        assert axes.get_xscale() == "log"
    assert not any(first.overlaps(second) for first, second in combinations(labels, 2))
    assert all(figure.bbox.contains(*corner) for extent in labels for corner in extent.corners())


def test_marks_differ_without_colour() -> None:
    (axes,) = figure_of(measured(COMPOSITIONS, 256)).axes
    marks = [(line.get_marker(), line.get_markerfacecolor()) for line in axes.lines if line.get_marker() != "None"]
    marks = [mark for mark in marks if mark[0] not in ("_", "|")]
    assert len(set(marks)) == len(marks) == len(COMPOSITIONS)
    colours = {line.get_color() for line in axes.lines} | {fill for _, fill in marks}
    assert all(colour in ("black", "white", "none") or float(str(colour)) < 1 for colour in colours)


def test_a_speed_and_an_accuracy_stand_where_they_belong() -> None:
    (axes,) = figure_of(measured([parse_composition("vanilla"), parse_composition(COMBINED[0])], 256)).axes
    points = [tuple(np.asarray(line.get_xydata())[0]) for line in axes.lines if line.get_marker() in ("o", "s")]
    assert points == [(1.0, 100.0), (2.0, 95.0)]
