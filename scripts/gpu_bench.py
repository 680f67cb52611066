"""Speed and parity on this machine's GPU: a table, and one JSON to send in.

    python -m dllm_edge.scripts.gpu_bench [--first-hour] [--parts step,host,...] [--shapes 135m,1.5b] [--engines tensorrt,...]

Weights are random; making them needs torch and onnx, without CUDA. Engines are built on the spot. The 8B shape is measured only
where it is named: it takes 32 GB of disk, and more for each engine. What does not run here is in the result with its reason.
The JSON is written after each measurement; the same command goes on where another has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Annotated, Any

import typer

from ..graphs.errors import DllmEdgeError
from ..graphs.whole_file import write_json
from .benchmarks.finding import Finding, findings_table
from .benchmarks.gpu.job import ENGINES, LARGE, Job
from .benchmarks.gpu.results import in_order, key, results_of
from .cli.doctor.checks import installed
from .cli.doctor.machine import machine
from .cli.terminal.bundles import DEMO, require_export
from .cli.terminal.launch import launch_command
from .cli.terminal.lists import parse_names, parse_numbers
from .cli.terminal.options import JsonOption, OutputOption
from .cli.terminal.output import log, print_json, screen
from .cli.terminal.progress import StageProgress, progress_bars

# In the order of a first hour on a GPU: what needs no engine, whether engines are right, how fast they are.
FIRST_HOUR = ("bandwidth", "copies", "recording", "parity", "step", "host")
PARTS = (*FIRST_HOUR, "torch", "attention")
ON_DEVICE = ("bandwidth", "copies", "recording")
SHAPES = ("tiny", "135m", "1.5b", "8b")
COMPUTE_DTYPES = ("float32", "float16", "bfloat16")
ATTENTION_SLOTS = (2048, 8192)
LEAST_CONTEXT = 256
VERSIONS = ("dllm-edge", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "cuda-python", "torch", "numpy")


def gpu_bench(
    parts: Annotated[str, typer.Option(help=f"What to measure: {', '.join(PARTS)}.")] = ",".join(PARTS),
    shapes: Annotated[str, typer.Option(help=f"Which models: {', '.join(SHAPES)}.")] = "135m,1.5b",
    engines: Annotated[str, typer.Option(help=f"On what: {', '.join(ENGINES)}.")] = ",".join(ENGINES),
    types: Annotated[str, typer.Option(help=f"What to compute in: {', '.join(COMPUTE_DTYPES)}.")] = "float16,bfloat16",
    contexts: Annotated[str, typer.Option(help="Cached slots of a step, 256 or more.")] = "512,2048",
    limit: Annotated[float, typer.Option(min=1, help="Seconds that a measurement and its build may take.")] = 1800.0,
    folder: Annotated[
        Path | None, typer.Option(help="Keep models and engines here for the next time.", show_default="a temporary one")
    ] = None,
    first_hour: Annotated[
        bool, typer.Option("--first-hour", help=f"Part by part, over all engines and models: {', '.join(FIRST_HOUR)}.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Measure anew what the file at --output has already.")] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Speed and parity on this machine's GPU: a table, and one JSON to send in."""
    jobs = plan_jobs(
        parse_names(",".join(FIRST_HOUR) if first_hour else parts, "part", PARTS),
        parse_names(shapes, "shape", SHAPES),
        parse_names(engines, "engine", ENGINES),
        parse_names(types, "type", COMPUTE_DTYPES),
        parse_numbers(contexts, "--contexts", LEAST_CONTEXT),
    )
    from .benchmarks.gpu.processes import run_job

    gate = run_job(Job("device"), limit)
    if "error" in gate:
        raise DllmEdgeError(gate["error"])
    about = about_run(gate["result"])
    kept = {} if again or output is None else results_of(output, about)
    jobs = sorted(jobs, key=lambda job: FIRST_HOUR.index(job.part)) if first_hour else jobs
    outcomes: list[dict[str, Any]] = []
    with TemporaryDirectory(prefix="dllm-edge-gpu-") as temporary, progress_bars() as progress:
        for outcome in run_all(jobs, folder or Path(temporary), progress, lambda job: run_job(job, limit), kept):
            outcomes.append(outcome)
            if output:
                with suppress(OSError):  # the last attempt says so, once the results are shown
                    write_json(output, collect(about, in_order(outcomes, kept)))
    data = collect(about, in_order(outcomes, kept))
    if as_json:
        print_json(data)
    else:
        print_results(data)
    if output:
        write_json(output, data)


def plan_jobs(
    parts: Sequence[str], shapes: Sequence[str], engines: Sequence[str], dtypes: Sequence[str], contexts: tuple[int, ...]
) -> list[Job]:
    """Return all measurements; those of one model follow each other, and torch comes before what is compared with it."""
    jobs = [Job(part) for part in ON_DEVICE if part in parts]
    if "parity" in parts:
        jobs += [Job("parity", engine, DEMO, compute) for compute in dict.fromkeys(["float32", *dtypes]) for engine in engines]
    for shape in shapes:
        for compute in dtypes:
            if "torch" in parts:
                jobs += [Job("torch", mode, shape, compute, contexts=contexts) for mode in ("torch", "torch.compile")]
            timed = [part for part in ("step", "host") if part in parts]
            jobs += [Job(part, engine, shape, compute, contexts=contexts) for engine in engines for part in timed]
    if "attention" in parts:
        jobs += [Job("attention", engine, "", compute, contexts=ATTENTION_SLOTS) for compute in dtypes for engine in engines]
    return jobs


def run_all(
    jobs: Sequence[Job],
    folder: Path,
    progress: StageProgress,
    run: Callable[[Job], dict[str, Any]],
    kept: Mapping[str, dict[str, Any]] = MappingProxyType({}),
) -> Iterator[dict[str, Any]]:
    """Yield the outcome of each job, that which is `kept` of it where there is one; a model that cannot be made is an error."""
    jobs_left = [job for job in jobs if key(job) not in kept]
    for shape in dict.fromkeys(job.shape for job in jobs_left if job.shape in LARGE):
        log().print(LARGE[shape], soft_wrap=True, highlight=False)
    folder.mkdir(parents=True, exist_ok=True)
    yield from (kept[key(job)] for job in jobs if key(job) in kept)
    for job in jobs_left:
        progress(job.label, 0.0)
        try:
            bundle = model_of(job, folder, progress) if job.shape else ""
            outcome = run(Job(**job.to_json() | {"bundle": bundle}))
        except DllmEdgeError as error:
            outcome = {"job": job.to_json(), "seconds": 0.0, "error": str(error)}
        except OSError as error:
            reason = f"{job.label} failed in {folder} ({error}): free space there, or give another path with --folder"
            outcome = {"job": job.to_json(), "seconds": 0.0, "error": reason}
        yield outcome
        progress(job.label, 1.0)


def model_of(job: Job, folder: Path, progress: StageProgress) -> str:
    """Return the path of the job's bundle, made in `folder` unless it is there."""
    require_export()
    from .benchmarks.gpu import bundles

    return str(bundles.bundle_of(folder, job.shape, job.compute, progress))


def about_run(gpu: dict[str, Any]) -> dict[str, Any]:
    """Return what the results are of: date, machine, GPU with its driver, versions."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "gpu": gpu,
        "versions": {name: installed(name) for name in VERSIONS},
    }


def collect(about: dict[str, Any], outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON: what it is of, every outcome, and the numbers with their targets."""
    from .benchmarks.gpu.findings import findings

    return about | {"findings": [vars(finding) for finding in findings(outcomes)], "outcomes": list(outcomes)}


def print_results(data: dict[str, Any]) -> None:
    """Print the findings, and why what was not measured was not."""
    console = screen()
    title = f"{data['gpu']['gpu']}, {data['gpu']['compute_capability']}"
    console.print(findings_table(title, [Finding(**finding) for finding in data["findings"]]))
    for outcome in data["outcomes"]:
        if "error" in outcome:
            label = Job(**outcome["job"]).label
            console.print(f"not measured: {label}: {outcome['error']}", soft_wrap=True, highlight=False)


def main() -> None:
    launch_command(gpu_bench)


if __name__ == "__main__":
    main()
