"""Compiling one graph to an engine file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from ...graphs.errors import DllmEdgeError
from ...graphs.whole_file import write_whole
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.manifest import GraphFile
from ...runtime.engines.profiles import Shapes
from ...runtime.engines.tensorrt.library import Library
from .network import parse_graph, remedy
from .options import BuildOptions, add_profiles, configuration
from .progress import PhaseProgress, monitored
from .timing_cache import load_timings, save_timings

# Characters of a compiler's message, which may quote its own sources.
LONGEST_REASON = 300


@dataclass(frozen=True)
class Compilation:
    """What the graphs of a bundle are compiled with, and the compute capabilities for which (`choose_targets`)."""

    bundle: Bundle
    library: Library
    targets: tuple[str, ...]
    options: BuildOptions


@dataclass(frozen=True)
class GraphJob:
    """One graph to compile: `step` or a cache operation, its file, and the input shapes of each of its profiles."""

    name: str
    graph: GraphFile
    shapes: list[Shapes]


@dataclass(frozen=True)
class Prepared:
    """TensorRT's own objects: a network whose interface was checked, and all that is needed to build it."""

    builder: Any
    network: Any
    config: Any
    profiles: list[Any]


def prepare(compilation: Compilation, job: GraphJob) -> Prepared:
    """Parse the graph and make one profile of each of its shapes; raises `DllmEdgeError` where TensorRT refuses them."""
    library = compilation.library
    builder = library.make("Builder")
    network = library.create_network(builder)
    parse_graph(library, network, compilation.bundle, job.name, job.graph)
    config = configuration(library, builder, compilation.targets, compilation.options)
    return Prepared(builder, network, config, add_profiles(builder, config, job.shapes))


def compile_graph(
    compilation: Compilation, job: GraphJob, engine_file: Path, *, timing_file: Path, progress: PhaseProgress
) -> None:
    """Write `engine_file`, with the timings that are in `timing_file`; those of a build that fails are kept there, too."""
    library, prepared = compilation.library, prepare(compilation, job)
    load_timings(library, prepared.config, timing_file)
    try:
        with monitored(library, prepared.config, progress):
            serialised = library.call(prepared.builder.build_serialized_network, prepared.network, prepared.config)
    finally:
        save_timings(library, prepared.config, timing_file)
    if serialised is None or serialised.nbytes == 0:
        raise _not_built(compilation, job.graph)
    # Straight from the builder's memory: an engine of 8B parameters is not held twice.
    write_whole(engine_file, memoryview(serialised), durable=False)


def _not_built(compilation: Compilation, graph: GraphFile) -> DllmEdgeError:
    """Return an error with TensorRT's own reason, and what may help."""
    library = compilation.library
    reason = shorten(library.last_error() or "it does not say why", LONGEST_REASON, placeholder=" ...")
    return DllmEdgeError(
        f"{compilation.bundle.path / graph.file}: {library.title} could not build it ({reason}): if memory ran out, see "
        f"'dllm-edge plan' and give fewer --systems and --context; else {remedy(library, graph)}"
    )
