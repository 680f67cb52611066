"""Speed and memory on this machine, as ratios in one run (`make bench`).

    python -m dllm_edge.scripts.bench [--parts step,overhead,...] [--paired 20] [--problems 500]

The part `export` writes and exports a checkpoint of 8B shape, which takes 32 GB of disk: it runs only where it is named.
"""

from __future__ import annotations

import json
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from ..graphs.errors import DllmEdgeError
from .cli.bundles import DEMO, bundle_path, require_export
from .cli.doctor.doctor import machine
from .cli.launch import launch_command
from .cli.options import JsonOption, ThreadsOption
from .cli.output import log, print_json, progress, screen

if TYPE_CHECKING:
    from .benchmarks.finding import Part
    from .benchmarks.setup import Measure, Setup

DEFAULT_PARTS = ("step", "overhead", "memory", "systems", "accuracy", "sparse", "engine")
PARTS = (*DEFAULT_PARTS, "export")
VERSIONS = ("dllm-edge", "onnxruntime", "torch", "numpy")
FULL = f"python -m dllm_edge.scripts.bench --paired 20 --problems 500 --parts {','.join(PARTS)}"


def bench(
    bundle: Annotated[str, typer.Option(help="The bundle to decode with: a folder, or demo.")] = DEMO,
    parts: Annotated[str, typer.Option(help=f"What to measure: {', '.join(PARTS)}.")] = ",".join(DEFAULT_PARTS),
    paired: Annotated[int, typer.Option(min=1, help="Problems that every system decodes, for speeds.")] = 10,
    problems: Annotated[int, typer.Option(min=1, help="Problems for the accuracy; 500 for a narrow interval.")] = 100,
    export_scale: Annotated[str, typer.Option(help="Size of the exported checkpoint: 8b, 135m or tiny.")] = "8b",
    threads: ThreadsOption = 0,
    output: Annotated[Path | None, typer.Option(help="Also write the JSON to this file.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Speed and memory on this machine, as ratios in one run."""
    names = parse_parts(parts)
    require_export()
    from .benchmarks.setup import Setup

    found = measure(names, Setup(bundle_path(bundle), threads, paired, problems, export_scale))
    data = {
        "machine": machine(),
        "versions": {name: version(name) for name in VERSIONS},
        "parts": {part.name: part.to_json() for part in found},
    }
    if output:
        output.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    if as_json:
        print_json(data)
        return
    for part in found:
        print_part(part)
    log().print(f"the whole of it: {FULL}", style="dim", highlight=False, soft_wrap=True)


def parse_parts(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in PARTS:
            raise DllmEdgeError(f"unknown part '{name}': choose of {', '.join(PARTS)}")
    if not names:
        raise DllmEdgeError(f"--parts names nothing: choose of {', '.join(PARTS)}")
    return names


def measure(names: list[str], setup: Setup) -> list[Part]:
    measures, found = available(), []
    with setup.folder, progress() as report:
        for name in names:
            report(name, 0.0)
            found.append(measures[name](setup, partial(report, name)))
            report(name, 1.0)
    return found


def available() -> dict[str, Measure]:
    from .benchmarks.engine import measure_engine
    from .benchmarks.export import measure_export
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
        "export": measure_export,
    }


def print_part(part: Part) -> None:
    console = screen()
    for table in part.tables:
        console.print(table)
    summary = Table(title=part.title, title_justify="left", box=box.SIMPLE_HEAD)
    summary.add_column("")
    for column in ("measured", "target", "met"):
        summary.add_column(column, justify="right")
    for finding in part.findings:
        met = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[finding.met]
        summary.add_row(finding.name, finding.text, finding.target, met)
    console.print(summary)


def main() -> None:
    launch_command(bench)


if __name__ == "__main__":
    main()
