"""The sizes of a compiled engine: the profiles that it was built for, and what to say where none holds what is wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...graphs.contract import Profile
from ...graphs.errors import DllmEdgeError
from .profiles import Workload

# Profiles that an error names.
NAMED = 4


class FixedSizes:
    """Runs the smallest profile of `workload` that holds what is wanted; one of `multiple` slots is for steps without a cache.

    `remedy` is the command that builds an engine for other sizes.
    """

    def __init__(self, workload: Workload, multiple: int, remedy: str) -> None:
        self.workload, self.multiple, self.remedy = workload, multiple, remedy
        self.chosen: dict[Profile, Profile] = {}

    @property
    def profiles(self) -> Sequence[Profile]:
        return self.workload.profiles

    def context(self, length: int) -> int:
        longer = (one.queries for one in self.profiles if one.capacity == self.multiple and one.queries >= length)
        return min(longer, default=length)

    def profile(self, wanted: Profile) -> Profile:
        """Return the smallest profile that holds the wanted one, over as many slots; `multiple` stand for an empty cache."""
        if wanted not in self.chosen:
            self.chosen[wanted] = self._choose(wanted)
        return self.chosen[wanted]

    def _choose(self, wanted: Profile) -> Profile:
        capacity = wanted.capacity or self.multiple
        fitting = [profile for profile in self.profiles if profile.capacity == capacity and _holds(profile, wanted)]
        if not fitting:
            raise self._no_profile(wanted)
        return min(fitting, key=_cost)

    def cache(self, batch: int, capacity: int, bound: bool, read: bool) -> tuple[int, int]:
        slots = self._slots(capacity, bound, read)
        return (self._lanes(batch, slots) if read else batch), slots

    def _slots(self, capacity: int, bound: bool, read: bool) -> int:
        readable = {profile.capacity for profile in self.profiles}
        bindable = {profile.queries for profile in self.profiles if profile.capacity == self.multiple and profile.batch == 1}
        usable = readable & bindable if bound and read else bindable if bound else readable
        # What is bound and never read is to be scored: not every width of a refresh is.
        unscored = usable.difference(self.workload.saliency) if bound and not read else set()
        slots = min((size for size in usable if size >= capacity), key=lambda size: (size in unscored, size), default=None)
        if slots is None:
            raise DllmEdgeError(
                f"this decode needs a cache of {capacity} slots; the engine was built for {_list(usable)}: {self.remedy}"
            )
        return slots

    def _lanes(self, batch: int, slots: int) -> int:
        batches = {profile.batch for profile in self.profiles if profile.capacity == slots}
        lanes = min((size for size in batches if size >= batch), default=None)
        if lanes is None:
            raise DllmEdgeError(
                f"{batch} sequences at once; the engine was built for {_list(batches)} over {slots} slots: {self.remedy}, "
                "or decode fewer at once (--batch, max_batch)"
            )
        return lanes

    def check_saliency(self, capacity: int) -> None:
        if capacity not in self.workload.saliency:
            built = _list(self.workload.saliency)
            raise DllmEdgeError(
                f"this decode scores a cache of {capacity} slots; the engine was built for {built}: {self.remedy}"
            )

    def check_select(self, source: int, target: int) -> None:
        if (source, target) not in self.workload.select:
            built = ", ".join(f"{old} to {new}" for old, new in self.workload.select) or "none"
            raise DllmEdgeError(
                f"this decode evicts {source} slots to {target}; the engine was built for {built}: {self.remedy}"
            )

    def _no_profile(self, wanted: Profile) -> DllmEdgeError:
        described = list(dict.fromkeys(self._describe(profile) for profile in self.profiles))
        more = f" and {len(described) - NAMED} more" if len(described) > NAMED else ""
        built = "; ".join(described[:NAMED]) + more
        return DllmEdgeError(
            f"no profile of the engine holds a step of {self._describe(wanted)}; it was built for {built}: {self.remedy}"
        )

    def _describe(self, profile: Profile) -> str:
        cache = f"over {profile.capacity} slots" if profile.capacity > self.multiple else "without a cache"
        return f"{profile.batch} x {profile.queries} tokens {cache} with {profile.rows} logit rows"


def _holds(profile: Profile, wanted: Profile) -> bool:
    return (
        profile.batch >= wanted.batch
        and profile.queries >= wanted.queries
        and profile.rows >= wanted.rows
        and profile.targets >= wanted.targets
    )


def _cost(profile: Profile) -> tuple[int, ...]:
    """Return what a step of this profile costs, roughly: tokens first, then logit rows."""
    return (profile.batch * profile.queries, profile.batch * profile.rows, profile.targets)


def _list(sizes: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(sizes))) or "none"
