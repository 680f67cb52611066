"""How a bundle's graphs are compiled: what a user may choose, and the configuration that it becomes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from ...graphs.errors import DllmEdgeError
from ...runtime.engines.profiles import Shapes
from ...runtime.engines.tensorrt.library import Library

OPTIMIZATION_LEVELS = range(6)
LARGEST_TENSOR, LARGEST_WORKSPACE = 2**31 - 1, 2**50
# TensorRT's own default. At 5 a build can take hours.
DEFAULT_LEVEL = 3


@dataclass(frozen=True)
class BuildOptions:
    """What a user may choose; raises `DllmEdgeError` for what is out of range.

    `compute` is the dtype to compute in (None: the bundle's), `flavour` that of the step (None: the best that is taken),
    `workspace` the most bytes that a kernel may use beside its tensors (None: no limit).
    """

    compute: str | None = None
    flavour: str | None = None
    optimization_level: int = DEFAULT_LEVEL
    workspace: int | None = None

    def __post_init__(self) -> None:
        if self.optimization_level not in OPTIMIZATION_LEVELS:
            raise DllmEdgeError(
                f"optimization level {self.optimization_level}: choose one from 0 (quick) to 5 (can take hours)"
            )
        if self.workspace is not None and not 0 < self.workspace < LARGEST_WORKSPACE:
            raise DllmEdgeError(f"workspace of {self.workspace} bytes: give the size of a GPU's memory or less, or no limit")


def flavours_to_build(library: Library, options: BuildOptions) -> tuple[str, ...]:
    """Return the flavours of a step that may be built, the best first; raises `DllmEdgeError` for one that is not taken."""
    if options.flavour is None:
        return library.flavours
    if options.flavour not in library.flavours:
        raise DllmEdgeError(
            f"{library.title} does not take the flavour '{options.flavour}': choose {' or '.join(library.flavours)}"
        )
    return (options.flavour,)


def configuration(library: Library, builder: Any, targets: tuple[str, ...], options: BuildOptions) -> Any:
    """Return a builder's configuration without profiles. Dtypes are those of the graph: no precision is ever set.

    `RECIPE` in `runtime.engines.tensorrt.fingerprint` counts the changes to what this or `network` sets: without another
    number an engine from before passes for a new one.
    """
    config = builder.create_builder_config()
    config.builder_optimization_level = options.optimization_level
    # On by default. What a graph computes in float32 it does for the bits: scores of saliency, too, where weights are float16.
    config.clear_flag(library.module.BuilderFlag.TF32)
    if options.workspace is not None:
        config.set_memory_pool_limit(library.module.MemoryPoolType.WORKSPACE, options.workspace)
    library.set_targets(config, targets)
    library.configure(config)
    return config


def add_profiles(builder: Any, config: Any, profiles: list[Shapes]) -> list[Any]:
    """Add one optimisation profile for each of `profiles`, of exactly its shapes, and return them.

    Raises `DllmEdgeError` for shapes that TensorRT does not take.
    """
    added = []
    for shapes in profiles:
        profile = builder.create_optimization_profile()
        for name, shape in shapes.items():
            if prod(shape) > LARGEST_TENSOR:
                raise DllmEdgeError(
                    f"{name} would be {' x '.join(map(str, shape))}, more numbers than TensorRT takes in one tensor: "
                    "use a shorter --context"
                )
            profile.set_shape(name, shape, shape, shape)
        if config.add_optimization_profile(profile) < 0:
            raise DllmEdgeError(f"a profile is not valid ({shapes}): give other lengths")
        added.append(profile)
    return added
