"""Which sizes an engine runs for those that are wanted: the same, or the smallest of the few that it was built for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import gcd
from typing import Protocol

from ...graphs.config import ModelConfig
from ...graphs.contract import Profile
from ...graphs.errors import DllmEdgeError
from .profiles import Workload

# Profiles that an error names.
NAMED = 4
# Bytes at whose multiples TensorRT wants tensors to begin, and the fewest of a number in a cache.
ALIGNMENT, ITEM = 256, 2


def slot_step(config: ModelConfig) -> int:
    """What capacities and queries are multiples of, so that each lane of each tensor of a cache begins where it should."""
    return ALIGNMENT // gcd(ALIGNMENT, config.kv_heads * config.head_dim * ITEM)


class Sizes(Protocol):
    """The choice of sizes. An empty cache is one of `slot_step` slots that nobody sees: compilers take no empty tensors."""

    def profile(self, wanted: Profile) -> Profile: ...

    def context(self, length: int) -> int | None:
        """The canvas that one of `length` tokens is padded to where sizes are fixed; None where every size is taken."""
        ...

    def cache(self, batch: int, capacity: int, bound: bool, read: bool) -> tuple[int, int]:
        """Batch and capacity of a cache; `bound` and `read` as in `Engine.allocate`."""
        ...

    def check_saliency(self, capacity: int) -> None:
        """Raise `DllmEdgeError` unless the slots of a cache of this capacity can be scored."""
        ...

    def check_select(self, source: int, target: int) -> None:
        """Raise `DllmEdgeError` unless slots can be moved between caches of these capacities."""
        ...


class AnySizes:
    """Exactly what is wanted: engines in host memory take every size."""

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


class ExactSizes(AnySizes):
    """Whatever is wanted, at the next multiple of `step` queries and slots."""

    def __init__(self, step: int) -> None:
        self.step = step

    def profile(self, wanted: Profile) -> Profile:
        return replace(wanted, queries=self._up(wanted.queries), capacity=self._up(max(1, wanted.capacity)))

    def cache(self, batch: int, capacity: int, bound: bool, read: bool) -> tuple[int, int]:
        return batch, self._up(capacity)

    def _up(self, size: int) -> int:
        return -(-size // self.step) * self.step


class FixedSizes:
    """The profiles of a compiled engine; those of `step` slots are for steps without a cache.

    `remedy` is the command that builds one for other sizes.
    """

    def __init__(self, workload: Workload, step: int, remedy: str) -> None:
        self.workload, self.step, self.remedy = workload, step, remedy
        self.found: dict[Profile, Profile] = {}

    def context(self, length: int) -> int:
        held = (one.queries for one in self.workload.profiles if one.capacity == self.step and one.queries >= length)
        return min(held, default=length)

    def profile(self, wanted: Profile) -> Profile:
        """The smallest profile that holds the wanted one; its capacity is the wanted one's, or `step` for an empty cache."""
        found = self.found.get(wanted)
        if found is None:
            capacity = wanted.capacity or self.step
            fitting = [
                profile for profile in self.workload.profiles if profile.capacity == capacity and _holds(profile, wanted)
            ]
            if not fitting:
                raise self._none(wanted)
            found = self.found[wanted] = min(fitting, key=_work)
        return found

    def cache(self, batch: int, capacity: int, bound: bool, read: bool) -> tuple[int, int]:
        profiles = self.workload.profiles
        readable = {profile.capacity for profile in profiles}
        bindable = {profile.queries for profile in profiles if profile.capacity == self.step and profile.batch == 1}
        usable = readable & bindable if bound and read else bindable if bound else readable
        slots = min((size for size in usable if size >= capacity), default=None)
        if slots is None:
            raise DllmEdgeError(
                f"this decode needs a cache of {capacity} slots; the engine was built for {_listed(usable)}: {self.remedy}"
            )
        if not read:
            return batch, slots
        batches = {profile.batch for profile in profiles if profile.capacity == slots}
        lanes = min((size for size in batches if size >= batch), default=None)
        if lanes is None:
            raise DllmEdgeError(
                f"{batch} sequences at once; the engine was built for {_listed(batches)} over {slots} slots: {self.remedy}, "
                "or decode fewer at once (--batch, max_batch)"
            )
        return lanes, slots

    def check_saliency(self, capacity: int) -> None:
        if capacity not in self.workload.saliency:
            held = _listed(self.workload.saliency)
            raise DllmEdgeError(
                f"this decode scores a cache of {capacity} slots; the engine was built for {held}: {self.remedy}"
            )

    def check_select(self, source: int, target: int) -> None:
        if (source, target) not in self.workload.select:
            held = ", ".join(f"{old} to {new}" for old, new in self.workload.select) or "none"
            raise DllmEdgeError(
                f"this decode evicts {source} slots to {target}; the engine was built for {held}: {self.remedy}"
            )

    def _none(self, wanted: Profile) -> DllmEdgeError:
        held = list(dict.fromkeys(self._words(profile) for profile in self.workload.profiles))
        more = f" and {len(held) - NAMED} more" if len(held) > NAMED else ""
        built = "; ".join(held[:NAMED]) + more
        return DllmEdgeError(
            f"no profile of the engine holds a step of {self._words(wanted)}; it was built for {built}: {self.remedy}"
        )

    def _words(self, profile: Profile) -> str:
        cache = f"over {profile.capacity} slots" if profile.capacity > self.step else "without a cache"
        return f"{profile.batch} x {profile.queries} tokens {cache} with {profile.rows} logit rows"


def _holds(profile: Profile, wanted: Profile) -> bool:
    return (
        profile.batch >= wanted.batch
        and profile.queries >= wanted.queries
        and profile.rows >= wanted.rows
        and profile.targets >= wanted.targets
    )


def _work(profile: Profile) -> tuple[int, ...]:
    """What a step of this profile costs, roughly: tokens first, then logit rows."""
    return (profile.batch * profile.queries, profile.batch * profile.rows, profile.targets)


def _listed(sizes: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(sizes))) or "none"
