"""What a compiled engine is built for: the fixed sizes of its steps and of its cache operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...graphs import contract
from ...graphs.config import ModelConfig
from ...graphs.contract import DType, Profile

Shapes = dict[str, tuple[int, ...]]
"""A graph's inputs by name, and the shape of each."""


@dataclass(frozen=True)
class Workload:
    """The sizes that decoding asks of an engine.

    `profiles` are those of steps, none with an empty cache; `saliency` the capacities of the caches whose slots are scored;
    `select` the capacities that eviction moves slots from and to.
    """

    profiles: tuple[Profile, ...]
    saliency: tuple[int, ...] = ()
    select: tuple[tuple[int, int], ...] = ()

    def shapes(self, config: ModelConfig, cache_dtype: DType) -> dict[str, list[Shapes]]:
        """Return the input shapes of each profile, in order, by graph (`step`, `saliency`, `select`); no graph without one."""
        step = [_shapes(contract.inputs(config, cache_dtype), profile.sizes()) for profile in self.profiles]
        saliency = [_shapes(contract.saliency_inputs(config, cache_dtype), {"C": capacity}) for capacity in self.saliency]
        select = [
            _shapes(contract.select_inputs(config, cache_dtype), contract.select_sizes(config, *capacities))
            for capacities in self.select
        ]
        graphs = {"step": step, "saliency": saliency, "select": select}
        return {graph: profiles for graph, profiles in graphs.items() if profiles}


def _shapes(specs: list[contract.TensorSpec], sizes: Mapping[str, int]) -> Shapes:
    return {spec.name: spec.sized(sizes) for spec in specs}
