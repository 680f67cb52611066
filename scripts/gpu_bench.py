"""Speed and parity on this machine's GPU: a table, and one JSON to send in.

    python -m dllm_edge.scripts.gpu_bench [--parts step,host,...] [--shapes 135m,1.5b] [--engines tensorrt,...]

Weights are random; making them needs torch and onnx, without CUDA. Engines are built on the spot. The 8B shape is measured only
where it is named: it takes 32 GB of disk, and more for each engine. What does not run here is in the result with its reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from ..graphs.errors import DllmEdgeError
from .benchmarks.gpu.job import ENGINES, Job
from .cli.bundles import DEMO, require_export
from .cli.doctor.checks import installed
from .cli.doctor.doctor import machine
from .cli.launch import launch_command
from .cli.options import JsonOption
from .cli.output import Report, log, print_json, progress, screen

PARTS = ("parity", "step", "host", "torch", "attention")
SHAPES = ("tiny", "135m", "1.5b", "8b")
TYPES = ("float32", "float16", "bfloat16")
ATTENTION_SLOTS = (2048, 8192)
VERSIONS = ("dllm-edge", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "cuda-python", "torch", "numpy")


def gpu_bench(
    parts: Annotated[str, typer.Option(help=f"What to measure: {', '.join(PARTS)}.")] = ",".join(PARTS),
    shapes: Annotated[str, typer.Option(help=f"Which models: {', '.join(SHAPES)}.")] = "135m,1.5b",
    engines: Annotated[str, typer.Option(help=f"On what: {', '.join(ENGINES)}.")] = ",".join(ENGINES),
    types: Annotated[str, typer.Option(help=f"What to compute in: {', '.join(TYPES)}.")] = "float16,bfloat16",
    contexts: Annotated[str, typer.Option(help="Cached slots of a step, 256 or more.")] = "512,2048",
    limit: Annotated[float, typer.Option(min=1, help="Seconds that a measurement and its build may take.")] = 1800.0,
    folder: Annotated[
        Path | None, typer.Option(help="Keep models and engines here for the next time.", show_default="a temporary one")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Also write the JSON to this file.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Speed and parity on this machine's GPU: a table, and one JSON to send in."""
    names, models = chosen(parts, PARTS, "--parts"), chosen(shapes, SHAPES, "--shapes")
    jobs = plan_jobs(
        names, models, chosen(engines, ENGINES, "--engines"), chosen(types, TYPES, "--types"), parse_contexts(contexts)
    )
    from .benchmarks.gpu.processes import run_job

    gate = run_job(Job("bandwidth"), limit)
    if "error" in gate:
        raise DllmEdgeError(gate["error"])
    require_export()
    with TemporaryDirectory(prefix="dllm-edge-gpu-") as temporary, progress() as report:
        outcomes = list(run_all(jobs, folder or Path(temporary), report, lambda job: run_job(job, limit)))
    data = collect(gate["result"], outcomes)
    if as_json:
        print_json(data)
    else:
        print_results(data)
    if output:
        output.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def chosen(text: str, known: Sequence[str], option: str) -> list[str]:
    """The names in a list separated by commas, each of which must be known."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names or set(names) - set(known):
        raise DllmEdgeError(f"{option} {text}: choose of {', '.join(known)}, separated by commas")
    return names


def parse_contexts(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) >= 256 for word in words):
        raise DllmEdgeError(f"--contexts {text}: give numbers of 256 or more, separated by commas")
    return tuple(map(int, words))


def plan_jobs(
    parts: Sequence[str], shapes: Sequence[str], engines: Sequence[str], types: Sequence[str], contexts: tuple[int, ...]
) -> list[Job]:
    """All measurements; those of one model follow each other, and torch comes before what is compared with it."""
    jobs: list[Job] = []
    if "parity" in parts:
        jobs += [Job("parity", engine, DEMO, compute) for compute in dict.fromkeys(["float32", *types]) for engine in engines]
    for shape in shapes:
        for compute in types:
            if "torch" in parts:
                jobs += [Job("torch", mode, shape, compute, contexts=contexts) for mode in ("torch", "torch.compile")]
            timed = [part for part in ("step", "host") if part in parts]
            jobs += [Job(part, engine, shape, compute, contexts=contexts) for engine in engines for part in timed]
    if "attention" in parts:
        jobs += [Job("attention", engine, "", compute, contexts=ATTENTION_SLOTS) for compute in types for engine in engines]
    return jobs


def run_all(
    jobs: Sequence[Job], folder: Path, report: Report, run: Callable[[Job], dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The outcome of each job; one whose model cannot be made or written has that error."""
    from .benchmarks.gpu.bundles import LARGE, bundle_of

    for shape in dict.fromkeys(job.shape for job in jobs if job.shape in LARGE):
        log().print(LARGE[shape], soft_wrap=True, highlight=False)
    folder.mkdir(parents=True, exist_ok=True)
    for job in jobs:
        report(job.label, 0.0)
        try:
            bundle = str(bundle_of(folder, job.shape, job.compute, report)) if job.shape else ""
            outcome = run(Job(**job.to_json() | {"bundle": bundle}))
        except DllmEdgeError as error:
            outcome = {"job": job.to_json(), "seconds": 0.0, "error": str(error)}
        except OSError as error:
            reason = f"{job.label} failed in {folder} ({error}): free space there, or give another place with --folder"
            outcome = {"job": job.to_json(), "seconds": 0.0, "error": reason}
        yield outcome
        report(job.label, 1.0)


def collect(gpu: dict[str, Any], outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The JSON: the machine, every outcome, and the numbers with their goals."""
    from .benchmarks.gpu.findings import findings

    found = findings(outcomes, gpu["copy_bandwidth"])
    return {
        "machine": machine(),
        "gpu": gpu,
        "versions": {name: installed(name) for name in VERSIONS},
        "findings": [vars(finding) for finding in found],
        "outcomes": list(outcomes),
    }


def print_results(data: dict[str, Any]) -> None:
    table = Table(title=f"{data['gpu']['gpu']}, {data['gpu']['compute_capability']}", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    for column in ("measured", "goal", "met"):
        table.add_column(column, justify="right")
    for finding in data["findings"]:
        met = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[finding["met"]]
        table.add_row(finding["name"], finding["text"], finding["target"], met)
    console = screen()
    console.print(table)
    for outcome in data["outcomes"]:
        if "error" in outcome:
            label = Job(**outcome["job"]).label
            console.print(f"not measured: {label}: {outcome['error']}", soft_wrap=True, highlight=False, markup=False)


def main() -> None:
    launch_command(gpu_bench)


if __name__ == "__main__":
    main()
