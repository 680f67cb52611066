"""What a compiled engine is built for: the fixed sizes of its steps and of its cache operations."""

from __future__ import annotations

from dataclasses import dataclass

from ...graphs import contract
from ...graphs.config import ModelConfig
from ...graphs.contract import Profile, Size
from ...graphs.dtypes import DType

Shapes = dict[str, tuple[int, ...]]
"""A graph's inputs by name, and the shape of each."""


@dataclass(frozen=True)
class Workload:
    """The sizes that decoding asks of an engine.

    `profiles` are those of steps, none with an empty cache; `saliency` the capacities of the caches whose slots are scored;
    `select` the capacities that eviction moves slots from and to.
    """

    profiles: tuple[Profile, ...]
    saliency: tuple[Size, ...] = ()
    select: tuple[tuple[Size, Size], ...] = ()

    def sizes(self) -> dict[str, list[tuple[int, ...]]]:
        """Return by graph the sizes of each of its profiles, in order, as `contract.Graph` has them."""
        return {
            "step": [tuple(profile.sizes().values()) for profile in self.profiles],
            "saliency": [(capacity,) for capacity in self.saliency],
            "select": list(self.select),
        }

    def shapes(self, config: ModelConfig, cache_dtype: DType) -> dict[str, list[Shapes]]:
        """Return by graph the input shapes of each of its profiles, in order; no graph without one."""
        return {
            graph: [contract.input_shapes(graph, config, cache_dtype, size) for size in sizes]
            for graph, sizes in self.sizes().items()
            if sizes
        }
