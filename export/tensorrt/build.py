"""Building an engine: one plan for each graph of a workload, written beside the bundle's other engines or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shutil import copyfile

from ...graphs.errors import DllmEdgeError
from ...runtime.bundle.bundle import Bundle, remember, sha256_of
from ...runtime.bundle.manifest import FileRecord, GraphFile
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
from ...runtime.engines.tensorrt.library import Library
from ..staging import Kind, staged
from .compilation import Compilation, compile_graph
from .network import attention_is_decomposed
from .options import BuildOptions, flavours_to_build
from .progress import Progress
from .timing_cache import TIMING_CACHE, begin_timings, timings_beside

ENGINE = Kind("engine", "build", FINGERPRINT, (FINGERPRINT, TIMING_CACHE, engine_file_name("*")))
# Told the new engine before it takes its place: to run it where that is possible, and to raise where it does not.
Proof = Callable[[EngineFolder], None]


@dataclass(frozen=True)
class Built:
    """`fresh` is false where the engine was there already; `replaced` says that one for other sizes or flags was there."""

    engine: EngineFolder
    fresh: bool
    replaced: bool = False


def build_engine(
    bundle: Bundle,
    library: Library,
    targets: tuple[str, ...],
    workload: Workload,
    options: BuildOptions,
    progress: Progress | None = None,
    prove: Proof | None = None,
    admit: Callable[[], None] | None = None,
) -> Built:
    """Build the engine of `bundle` for the compute capabilities `targets` (`choose_targets`), unless it is there already.

    `admit` may refuse a build, by raising, before it begins. An engine that is there is replaced once the new one is
    complete. Raises `DllmEdgeError` for what does not build, and leaves nothing of it but what was timed, for the next.
    """
    compilation = Compilation(bundle, library, targets, options)
    graphs = graphs_to_build(compilation, workload)
    fingerprint = _fingerprint(compilation, graphs, workload)
    place = engine_folder_path(bundle, fingerprint)
    if (found := _standing(bundle, place, fingerprint)) is not None:
        return Built(found, fresh=False)
    if admit is not None:
        admit()
    _make_parent(place)
    shapes = workload.shapes(bundle.config, fingerprint.compute)
    replaced = read_fingerprint(place) is not None
    timings = timings_beside(place)
    with staged(place, overwrite=True, kind=ENGINE) as folder:
        begin_timings(timings, place)
        for name, graph in graphs.items():
            tell = partial(progress or _tell_nobody, name)
            compile_graph(compilation, name, graph, shapes[name], folder / engine_file_name(name), timings, tell)
        if timings.is_file():
            copyfile(timings, folder / TIMING_CACHE)
        plans = {engine_file_name(name): _record(folder / engine_file_name(name)) for name in graphs}
        fingerprint = replace(fingerprint, plans=plans)
        write_fingerprint(folder, fingerprint)
        if prove is not None:
            prove(EngineFolder(folder, fingerprint))
    timings.unlink(missing_ok=True)
    return Built(EngineFolder(place, fingerprint), fresh=True, replaced=replaced)


def graphs_to_build(compilation: Compilation, workload: Workload) -> dict[str, GraphFile]:
    """The graph of each name in the workload; cache operations have one flavour."""
    bundle, options = compilation.bundle, compilation.options
    compute = options.compute or bundle.manifest.compute
    flavours = {"step": flavours_to_build(compilation.library, options)}
    names = workload.shapes(bundle.config, bundle.manifest.compute)
    return {name: bundle.graph(flavours.get(name, ("portable",)), compute, name) for name in names}


def _fingerprint(compilation: Compilation, graphs: dict[str, GraphFile], workload: Workload) -> Fingerprint:
    library, options = compilation.library, compilation.options
    flags = Flags(options.optimization_level, options.workspace, attention_is_decomposed(graphs["step"]))
    return fingerprint_of(compilation.bundle, library.name, library.version, compilation.targets, graphs, workload, flags)


def _standing(bundle: Bundle, place: Path, wanted: Fingerprint) -> EngineFolder | None:
    """The engine at `place`, if it is what would be built, and whole."""
    found = read_fingerprint(place)
    if found is None or not found.same_build(wanted):
        return None
    try:
        check_engine(bundle, EngineFolder(place, found))
    except DllmEdgeError:
        return None
    return EngineFolder(place, found)


def _record(plan: Path) -> FileRecord:
    """The record of a plan that was written; its hash is not computed again to open it."""
    state = plan.stat()
    record = FileRecord(sha256_of(plan), state.st_size)
    remember(state, record.sha256)
    return record


def _make_parent(place: Path) -> None:
    try:
        place.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise DllmEdgeError(f"{place.parent}: {error.strerror}: make the bundle's folder writable") from error


def _tell_nobody(_graph: str, _phase: str, _share: float) -> None: ...
