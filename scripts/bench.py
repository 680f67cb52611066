"""Speed and memory on this machine, as ratios in one run (`make bench`).

    python -m dllm_edge.scripts.bench [--parts step,overhead,...] [--paired 20] [--problems 500]

The part `export` writes and exports a checkpoint of 8B shape, which takes 32 GB of disk: it runs only where it is named, and so
does `joined`, which settled a choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer

from ..graphs.whole_file import write_json
from .cli.doctor.machine import machine
from .cli.terminal.bundles import DEMO, bundle_path, require_export
from .cli.terminal.launch import launch_command
from .cli.terminal.lists import parse_names
from .cli.terminal.options import JsonOption, OutputOption, ThreadsOption
from .cli.terminal.output import log, print_json, screen
from .cli.terminal.progress import progress_bars

if TYPE_CHECKING:
    from .benchmarks.finding import Part
    from .benchmarks.setup import Measure, Setup

DEFAULT_PARTS = ("step", "overhead", "memory", "systems", "accuracy", "sparse", "engine")
PARTS = (*DEFAULT_PARTS, "joined", "export")
VERSIONS = ("dllm-edge", "onnxruntime", "torch", "numpy")
FULL = f"python -m dllm_edge.scripts.bench --paired 20 --problems 500 --parts {','.join(PARTS)}"


def bench(
    bundle: Annotated[str, typer.Option(help="The bundle to decode with: a folder, or demo.")] = DEMO,
    parts: Annotated[str, typer.Option(help=f"What to measure: {', '.join(PARTS)}.")] = ",".join(DEFAULT_PARTS),
    paired: Annotated[int, typer.Option(min=1, help="Problems that every system decodes, for speeds.")] = 10,
    problems: Annotated[int, typer.Option(min=1, help="Problems for the accuracy; 500 for a narrow interval.")] = 100,
    export_scale: Annotated[str, typer.Option(help="Size of the exported checkpoint: 8b, 135m or tiny.")] = "8b",
    threads: ThreadsOption = 0,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Speed and memory on this machine, as ratios in one run."""
    names = parse_names(parts, "part", PARTS)
    require_export()
    from .benchmarks.setup import Setup

    measured = measure(names, Setup(bundle_path(bundle), threads, paired, problems, export_scale))
    data = {
        "machine": machine(),
        "versions": {name: version(name) for name in VERSIONS},
        "parts": {part.name: part.to_json() for part in measured},
    }
    if as_json:
        print_json(data)
    else:
        print_parts(measured)
    if output:
        write_json(output, data)


def measure(names: Sequence[str], setup: Setup) -> list[Part]:
    """Measure the parts of these names, one after the other, with a bar for each."""
    measures, parts = available(), []
    with setup.folder, progress_bars() as progress:
        for name in names:
            progress(name, 0.0)
            parts.append(measures[name](setup, partial(progress, name)))
            progress(name, 1.0)
    return parts


def available() -> dict[str, Measure]:
    """Return the measure of each part; they import torch and onnx."""
    from .benchmarks.engine import measure_engine
    from .benchmarks.export import measure_export
    from .benchmarks.joined import measure_joined
    from .benchmarks.memory import measure_memory
    from .benchmarks.overhead import measure_overhead
    from .benchmarks.step import measure_step
    from .benchmarks.systems import measure_accuracy, measure_sparse, measure_systems

    return {
        "step": measure_step,
        "overhead": measure_overhead,
        "memory": measure_memory,
        "systems": measure_systems,
        "accuracy": measure_accuracy,
        "sparse": measure_sparse,
        "engine": measure_engine,
        "joined": measure_joined,
        "export": measure_export,
    }


def print_parts(parts: Sequence[Part]) -> None:
    """Print the tables of each part, its findings below them, and how to measure all of it."""
    from .benchmarks.finding import findings_table

    for part in parts:
        for table in (*part.tables, findings_table(part.title, part.findings)):
            screen().print(table)
    log().print(f"the whole of it: {FULL}", style="dim", highlight=False, soft_wrap=True)


def main() -> None:
    launch_command(bench)


if __name__ == "__main__":
    main()
