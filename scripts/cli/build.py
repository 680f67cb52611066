"""`dllm-edge build`: the engine of a bundle, for what will be decoded with it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich import box
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ...export.tensorrt.build import Built, build_engine
from ...export.tensorrt.compilation import Compilation
from ...export.tensorrt.memory import MEMINFO, check_memory, estimated_build_bytes
from ...export.tensorrt.options import BuildOptions
from ...export.tensorrt.progress import Progress as Tell
from ...export.tensorrt.targets import choose_targets
from ...graphs.errors import DllmEdgeError
from ...runtime.bundle.bundle import WEIGHTS, Bundle
from ...runtime.engines.device.present import present_compute_capability
from ...runtime.engines.profiles import Workload
from ...runtime.engines.tensorrt.engine_folder import EngineFolder
from ...runtime.engines.tensorrt.fingerprint import Flags
from ...runtime.engines.tensorrt.library import Library, find_library
from ...runtime.scheduler.rehearsal import derive_workload
from ...runtime.systems import find_system
from ...runtime.systems.defaults import settings_of
from .bundles import bundle_path
from .output import key_values, log, print_json, screen, size

DEFAULT_CONTEXT = 2048
# Seconds of a TensorRT-RTX build on 2 CPU cores: for each profile of each layer, and for a GB of weights.
PER_LAYER, PER_GB = 0.1, 9.5


@dataclass(frozen=True)
class Decodes:
    """What an engine is to serve: systems and their settings (text), the longest texts, and how many at a time."""

    systems: tuple[str, ...]
    settings: dict[str, Any]
    contexts: tuple[int, ...]
    batch: int


def build_bundle(
    word: str,
    runtime: str,
    targets: Sequence[str],
    decodes: Decodes,
    options: BuildOptions,
    as_json: bool,
    ignore_memory: bool = False,
    meminfo: Path = MEMINFO,
) -> None:
    library, present = find_library(runtime), present_compute_capability()
    chosen = choose_targets(library, targets, present)
    bundle = Bundle.open(bundle_path(word))
    workload = workload_of(bundle, decodes)
    announce(bundle, library, chosen, workload, as_json)
    runs_here = present in chosen
    started = time.perf_counter()
    with build_progress() as tell:
        trial = partial(run_once, bundle, library) if runs_here else None
        check = None if ignore_memory else partial(check_memory, bundle, meminfo)
        compilation = Compilation(bundle, library, chosen, options)
        built = build_engine(compilation, workload, progress=tell, before_build=check, trial=trial)
    report(built, runs_here, time.perf_counter() - started, as_json)


def parse_contexts(text: str | None) -> tuple[int, ...]:
    """Numbers of tokens separated by commas."""
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    for word in words:
        if not word.isdecimal() or int(word) < 2:
            raise DllmEdgeError(f"--context {word}: must be a number of tokens, or several separated by commas, as 512,2048")
    return tuple(map(int, words))


def workload_of(bundle: Bundle, decodes: Decodes) -> Workload:
    """The sizes of everything that these decodes ask of an engine."""
    uses = []
    for name in decodes.systems:
        known = find_system(name).settings
        fitting = {setting: value for setting, value in decodes.settings.items() if setting in known}
        uses.append((find_system(name), settings_of(bundle, name, fitting)))
    nobodys = decodes.settings.keys() - {setting for system, _ in uses for setting in system.settings}
    if nobodys:
        raise DllmEdgeError(
            f"none of {', '.join(decodes.systems)} has a setting '{min(nobodys)}'; 'dllm-edge systems' lists them"
        )
    contexts = decodes.contexts or (min(DEFAULT_CONTEXT, bundle.config.max_positions),)
    return derive_workload(bundle.config, uses, contexts, decodes.batch)


def estimated_seconds(bundle: Bundle, workload: Workload, targets: int) -> float:
    """A rough guess, from builds by TensorRT-RTX; TensorRT times kernels on the GPU and takes longer."""
    weights = sum(record.size for name, record in bundle.manifest.files.items() if name.startswith(WEIGHTS)) / 1e9
    return targets * PER_LAYER * bundle.config.layers * len(workload.profiles) + PER_GB * weights


def announce(bundle: Bundle, library: Library, targets: tuple[str, ...], workload: Workload, as_json: bool) -> None:
    """Say what will be built, before it takes its time; beside JSON in one line on stderr."""
    line = estimate_line(bundle, library, workload, len(targets))
    if as_json:
        log().print(line, soft_wrap=True, highlight=False)
        return
    table = Table(box=box.SIMPLE_HEAD, title=f"{library.title} for {', '.join(targets)}", title_justify="left")
    for column in ("batch", "queries", "capacity", "logit rows"):
        table.add_column(column, justify="right")
    for profile in workload.profiles:
        table.add_row(*map(str, (profile.batch, profile.queries, profile.capacity, profile.rows)))
    console = screen()
    console.print(table)
    console.print(line, soft_wrap=True, highlight=False)


def estimate_line(bundle: Bundle, library: Library, workload: Workload, targets: int) -> str:
    count, seconds = len(workload.profiles), estimated_seconds(bundle, workload, targets)
    least = "" if library.name == "tensorrt-rtx" else "at least "
    profiles = f"{count} profile{'' if count == 1 else 's'}"
    memory = size(estimated_build_bytes(bundle))
    return f"{profiles}; estimate: {least}{duration(seconds)} (on 2 cores), {memory} of memory"


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} minutes"


@contextmanager
def build_progress() -> Iterator[Tell]:
    """A bar on stderr with the graph, the phase that it is in and the time it took so far."""
    columns = (SpinnerColumn(), TextColumn("{task.description:<10}"), BarColumn(32), TimeElapsedColumn())
    bars = Progress(*columns, TextColumn("{task.fields[phase]}"), console=log())
    tasks: dict[str, Any] = {}

    def tell(graph: str, phase: str, share: float) -> None:
        if graph not in tasks:
            tasks[graph] = bars.add_task(graph, total=1.0, phase="")
            bars.start()
        bars.update(tasks[graph], completed=share, phase="" if share == 1 else phase)

    try:
        yield tell
    finally:
        if tasks:
            bars.stop()


def flags_text(flags: Flags) -> str:
    workspace = "no limit" if flags.workspace is None else size(flags.workspace)
    decomposed = "; attention in several kernels" if flags.decomposable else ""
    return f"optimisation level {flags.optimization_level}; workspace: {workspace}{decomposed}"


def run_once(bundle: Bundle, library: Library, folder: EngineFolder) -> None:
    """Raise unless every plan opens on the GPU of this machine, and a step of each profile runs there."""
    from ...runtime.engines.device.cuda import CudaDevice
    from ...runtime.engines.tensorrt.open import engine_over, try_engine

    try_engine(engine_over(bundle, library, CudaDevice(), folder))


def report(built: Built, runs_here: bool, seconds: float, as_json: bool) -> None:
    engine = built.engine
    total = sum(record.size for record in engine.fingerprint.plans.values())
    data = {
        "engine": str(engine.path),
        "built": built.fresh,
        "replaced": built.replaced,
        "run": built.fresh and runs_here,
        "bytes": total,
    }
    if as_json:
        print_json({**data, "seconds": seconds, "fingerprint": engine.fingerprint.to_json()})
        return
    if not built.fresh:
        screen().print(f"{engine.path}: already built, nothing to do", soft_wrap=True, highlight=False)
        return
    state = (
        "ran a step of each profile on this machine's GPU"
        if runs_here
        else "built but not run: this machine shows no GPU that it is for"
    )
    rows = {"engine": engine.path, "graphs": ", ".join(engine.fingerprint.plans), "size": size(total)}
    rows |= {"flags": flags_text(engine.fingerprint.flags), "took": f"{seconds:.1f} s", "state": state}
    if built.replaced:
        rows["note"] = "took the place of an engine for other sizes or flags: one build has to name all that is decoded"
    screen().print(key_values(rows), soft_wrap=True)
    screen().print("done")
