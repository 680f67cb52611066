"""Which sizes an engine runs for those that are wanted.

`AnySizes` runs what is wanted (host memory), `RoundedSizes` the next multiple of what makes tensors aligned (ONNX Runtime
on a device), `FixedSizes` (in `fixed_sizes`) the smallest of the few profiles that a compiled engine was built for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import gcd
from typing import Protocol

from ...graphs.config import ModelConfig
from ...graphs.contract import Profile

# Bytes at whose multiples TensorRT wants tensors to begin, and the fewest of a number in a cache.
ALIGNMENT, ITEM = 256, 2


def slot_multiple(config: ModelConfig) -> int:
    """Return what capacities and queries are multiples of, so that each lane of each tensor of a cache begins aligned."""
    return ALIGNMENT // gcd(ALIGNMENT, config.kv_heads * config.head_dim * ITEM)


class Sizes(Protocol):
    """The choice of sizes. An empty cache is one of `slot_multiple` slots that nobody sees: compilers take no empty tensors."""

    @property
    def profiles(self) -> Sequence[Profile] | None:
        """The profiles of steps that there are; None where every size is taken."""
        ...

    def profile(self, wanted: Profile) -> Profile:
        """Return the sizes that are run for those wanted; raises `DllmEdgeError` where none hold them."""
        ...

    def context(self, length: int) -> int | None:
        """Return the canvas that one of `length` tokens is padded to where sizes are fixed; None where every size is taken."""
        ...

    def cache(self, batch: int, capacity: int, bound: bool, read: bool) -> tuple[int, int]:
        """Return batch and capacity of a cache; `bound` and `read` as in `Engine.allocate`."""
        ...

    def check_saliency(self, capacity: int) -> None:
        """Raise `DllmEdgeError` unless the slots of a cache of this capacity can be scored."""
        ...

    def check_select(self, source: int, target: int) -> None:
        """Raise `DllmEdgeError` unless slots can be moved between caches of these capacities."""
        ...


class AnySizes:
    """Runs exactly what is wanted."""

    @property
    def profiles(self) -> Sequence[Profile] | None:
        return None

    def profile(self, wanted: Profile) -> Profile:
        return wanted

    def context(self, length: int) -> int | None:
        return None

    def cache(self, batch: int, capacity: int, bound: bool, read: bool) -> tuple[int, int]:
        return batch, capacity

    def check_saliency(self, capacity: int) -> None:
        return

    def check_select(self, source: int, target: int) -> None:
        return


class RoundedSizes(AnySizes):
    """Runs whatever is wanted, at the next multiple of `multiple` queries and slots."""

    def __init__(self, multiple: int) -> None:
        self.multiple = multiple

    def profile(self, wanted: Profile) -> Profile:
        return replace(wanted, queries=self._up(wanted.queries), capacity=self._up(max(1, wanted.capacity)))

    def cache(self, batch: int, capacity: int, bound: bool, read: bool) -> tuple[int, int]:
        return batch, self._up(capacity)

    def _up(self, size: int) -> int:
        return -(-size // self.multiple) * self.multiple
