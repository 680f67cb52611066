"""What a compiled engine is built for: the fixed sizes of its steps and of its cache operations."""

from __future__ import annotations

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

    def shapes(self, config: ModelConfig, cache: DType) -> dict[str, list[Shapes]]:
        """By graph (`step`, `saliency`, `select`) the input shapes of each of its profiles, in order; no graph without one."""
        found = {
            "step": [{spec.name: spec.shape(profile) for spec in contract.inputs(config, cache)} for profile in self.profiles],
            "saliency": [_sized(contract.saliency_inputs(config, cache), {"C": capacity}) for capacity in self.saliency],
            "select": [
                _sized(contract.select_inputs(config, cache), contract.select_sizes(config, *capacities))
                for capacities in self.select
            ],
        }
        return {graph: profiles for graph, profiles in found.items() if profiles}


def _sized(specs: list[contract.TensorSpec], sizes: dict[str, int]) -> Shapes:
    return {spec.name: spec.sized(sizes) for spec in specs}
