"""Building an engine: one engine file for each graph of a workload, written beside the bundle's other engines or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ...graphs.errors import DllmEdgeError
from ...graphs.whole_file import write_whole
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.manifest import FileRecord
from ...runtime.bundle.verified import remember, sha256_of
from ...runtime.engines.profiles import Workload
from ...runtime.engines.tensorrt.engine_folder import EngineFolder, check_engine, engine_file_name, engine_folder_path
from ...runtime.engines.tensorrt.fingerprint import (
    FINGERPRINT,
    Fingerprint,
    Flags,
    fingerprint_of,
    read_fingerprint,
    write_fingerprint,
)
from ..staging import Content, staged
from .compilation import Compilation, GraphJob, compile_graph
from .network import attention_is_decomposed
from .options import flavours_to_build
from .progress import Progress, ignore_progress
from .timing_cache import TIMING_CACHE, seed_timings, timing_file_of

ENGINE = Content("engine", "build", FINGERPRINT, (FINGERPRINT, TIMING_CACHE, engine_file_name("*")))
Trial = Callable[[EngineFolder], None]
"""Runs a new engine, where it can run, before it is moved to its path; raises where it does not run."""


@dataclass(frozen=True)
class Built:
    """`fresh` is false where the engine was there already; `replaced` says that one for other sizes or flags was there."""

    engine: EngineFolder
    fresh: bool
    replaced: bool = False


def build_engine(
    compilation: Compilation,
    workload: Workload,
    *,
    progress: Progress = ignore_progress,
    before_build: Callable[[], None] | None = None,
    trial: Trial | None = None,
) -> Built:
    """Build the engine of a bundle for the steps and cache operations of `workload`, unless it is there already.

    `before_build` may refuse a build that is needed, by raising. An engine that is there is replaced once the new one is
    complete. Raises `DllmEdgeError` for what does not build, and leaves nothing of it but what was timed, for the next.
    """
    jobs = graph_jobs(compilation, workload)
    fingerprint = _fingerprint(compilation, jobs, workload)
    path = engine_folder_path(compilation.bundle, fingerprint)
    if (present := _present_engine(compilation.bundle, path, fingerprint)) is not None:
        return Built(present, fresh=False)
    if before_build is not None:
        before_build()
    _make_parent(path)
    replaced = read_fingerprint(path) is not None
    timing_file = timing_file_of(path)
    with staged(path, overwrite=True, content=ENGINE) as folder:
        seed_timings(timing_file, path)
        records = {engine_file_name(job.name): _compile(compilation, job, folder, timing_file, progress) for job in jobs}
        if timing_file.is_file():
            write_whole(folder / TIMING_CACHE, timing_file.read_bytes(), durable=False)
        fingerprint = replace(fingerprint, plans=records)
        write_fingerprint(folder, fingerprint)
        if trial is not None:
            trial(EngineFolder(folder, fingerprint))
    timing_file.unlink(missing_ok=True)
    return Built(EngineFolder(path, fingerprint), fresh=True, replaced=replaced)


def graph_jobs(compilation: Compilation, workload: Workload) -> list[GraphJob]:
    """Return what to compile for `workload`, the step first; cache operations have one flavour."""
    bundle, options = compilation.bundle, compilation.options
    compute = options.compute or bundle.manifest.compute
    step = bundle.graph(flavours_to_build(compilation.library, options), compute)
    shapes = workload.shapes(bundle.config, step.compute)
    operations = {name: bundle.graph(("portable",), compute, name) for name in shapes if name != "step"}
    return [GraphJob(name, graph, shapes[name]) for name, graph in {"step": step, **operations}.items()]


def _fingerprint(compilation: Compilation, jobs: list[GraphJob], workload: Workload) -> Fingerprint:
    """Return the fingerprint of the engine to be built; it has no engine files yet."""
    library, options, graphs = compilation.library, compilation.options, {job.name: job.graph for job in jobs}
    flags = Flags(options.optimization_level, options.workspace, attention_is_decomposed(graphs["step"]))
    return fingerprint_of(compilation.bundle, library.name, library.version, compilation.targets, graphs, workload, flags)


def _present_engine(bundle: Bundle, path: Path, fingerprint: Fingerprint) -> EngineFolder | None:
    """Return the engine at `path` if it is whole and what would be built, else None."""
    present = read_fingerprint(path)
    if present is None or not present.same_build(fingerprint):
        return None
    try:
        check_engine(bundle, EngineFolder(path, present))
    except DllmEdgeError:
        return None
    return EngineFolder(path, present)


def _compile(compilation: Compilation, job: GraphJob, folder: Path, timing_file: Path, progress: Progress) -> FileRecord:
    """Compile one graph into `folder`, and return the record of its engine file, whose hash is then remembered."""
    file = folder / engine_file_name(job.name)
    compile_graph(compilation, job, file, timing_file=timing_file, progress=partial(progress, job.name))
    state = file.stat()
    record = FileRecord(sha256_of(file), state.st_size)
    remember(state, record.sha256)
    return record


def _make_parent(path: Path) -> None:
    """Make the folder that `path` will be in; raises `DllmEdgeError` where the bundle cannot be written to."""
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise DllmEdgeError(f"{path.parent}: {error.strerror}: make the bundle's folder writable") from error
