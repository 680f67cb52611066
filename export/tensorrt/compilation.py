"""Compiling one graph to a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from ...graphs.errors import DllmEdgeError
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.manifest import GraphFile
from ...runtime.engines.profiles import Shapes
from ...runtime.engines.tensorrt.library import Library
from .network import parse_graph, remedy
from .options import BuildOptions, add_profiles, configuration
from .progress import monitored
from .timing_cache import load_timings, save_timings

# Of a compiler's message, which may quote its own sources.
LONGEST_REASON = 300


@dataclass(frozen=True)
class Compilation:
    """What the graphs of a bundle are compiled with."""

    bundle: Bundle
    library: Library
    targets: tuple[str, ...]
    options: BuildOptions


@dataclass(frozen=True)
class Prepared:
    """TensorRT's own: a network whose interface was checked, and all that is needed to build it."""

    builder: Any
    network: Any
    config: Any
    profiles: list[Any]


def prepare(compilation: Compilation, name: str, graph: GraphFile, shapes: list[Shapes]) -> Prepared:
    """The graph `name` parsed, with one profile for each of `shapes`."""
    library = compilation.library
    builder = library.module.Builder(library.logger)
    network = library.create_network(builder)
    parse_graph(library, network, compilation.bundle, name, graph)
    config = configuration(library, builder, compilation.targets, compilation.options)
    return Prepared(builder, network, config, add_profiles(builder, config, shapes))


def compile_graph(
    compilation: Compilation,
    name: str,
    graph: GraphFile,
    shapes: list[Shapes],
    plan: Path,
    timings: Path,
    tell: Callable[[str, float], None],
) -> None:
    """Build the file `plan`, with the timings that are in a file; those of a build that fails are kept there, too."""
    library = compilation.library
    prepared = prepare(compilation, name, graph, shapes)
    load_timings(library, prepared.config, timings)
    try:
        with monitored(library, prepared.config, tell):
            built = prepared.builder.build_serialized_network(prepared.network, prepared.config)
    finally:
        save_timings(library, prepared.config, timings)
    if built is None or built.nbytes == 0:
        reason = shorten(library.last_error() or "it does not say why", LONGEST_REASON, placeholder=" ...")
        raise DllmEdgeError(
            f"{compilation.bundle.path / graph.file}: {library.title} could not build it ({reason}): if memory ran out, see "
            f"'dllm-edge plan' and give fewer --systems and --context; else {remedy(library, graph)}"
        )
    # Straight from the builder's memory: an engine of 8B parameters is not held twice.
    with plan.open("wb") as stream:
        stream.write(memoryview(built))
