"""The steps that a decode asks of an engine, and the cache slots that it holds, as a rehearsal of it shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean

from ...graphs.config import ModelConfig
from ...graphs.contract import Profile
from ...graphs.errors import DllmEdgeError
from ...runtime.scheduler.groups import shared_refreshes
from ...runtime.scheduler.rehearsal import rehearse
from ...runtime.systems import find_system
from .decode import Decode


@dataclass(frozen=True)
class Steps:
    """The steps of a block, and the slots of each sequence's cache.

    `full` is the largest that reads no cache, of as many sequences as do so together, `full_steps` times a block (None:
    every step is one), and sends `full_queries` on average; `block` is the largest of the others, which send
    `mean_queries` on average. `copied` is the largest whose rows are copied to the cache, being too few to fill it.
    `staged` are the slots of the one sequence whose refresh is evicted.
    """

    full: Profile
    full_steps: int | None
    full_queries: float
    block: Profile | None
    mean_queries: float
    copied: Profile | None
    capacity: int
    staged: int

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The profiles that an engine needs."""
        return tuple(profile for profile in (self.full, self.copied, self.block) if profile is not None)

    @property
    def unbound(self) -> tuple[Profile, ...]:
        """The profiles of steps whose new keys and values take memory of their own, since no cache is bound to them."""
        return self.profiles if self.block is None or self.evicts else self.profiles[1:]

    @property
    def evicts(self) -> bool:
        """Whether a refresh fills a cache of the whole canvas, of which only a part is kept."""
        return self.staged > 0

    @property
    def steady_slots(self) -> int:
        """Slots of all caches between refreshes."""
        return 0 if self.block is None else self.block.batch * self.capacity

    @property
    def peak_slots(self) -> int:
        """The same, and those of the one sequence that is being evicted."""
        return self.steady_slots + self.staged

    def full_steps_of(self, forwards: int) -> int:
        """Return how many of a block's `forwards` send the whole canvas."""
        return forwards if self.block is None or self.full_steps is None else min(self.full_steps, forwards)


# A plan that looks for a remedy asks for the same decode again and again.
@lru_cache(maxsize=1024)
def steps_of(config: ModelConfig, decode: Decode) -> Steps:
    """Return the steps of the decoding system; raises `DllmEdgeError` for lengths that do not fit it or the model."""
    system, settings = find_system(decode.system), decode.settings()
    if config.attention not in system.attention:
        raise DllmEdgeError(f"{system.name} is not for models with {config.attention} attention: use --systems vanilla")
    rehearsal = rehearse(config, (system, settings), decode.context)
    fulls = [forward for forward in rehearsal.forwards if not forward.profile.capacity]
    blocks = [forward.profile for forward in rehearsal.forwards if forward.profile.capacity]
    full, full_queries = _largest(one.profile for one in fulls), fmean(one.profile.queries for one in fulls)
    if not blocks:
        return Steps(replace(full, batch=decode.batch), None, full_queries, None, full.queries, None, 0, 0)
    staged = rehearsal.peak_slots - rehearsal.steady_slots
    together = 1 if staged else min(decode.batch, shared_refreshes(full.queries))
    copied = [] if staged else [one.profile for one in fulls if not one.fills]
    return Steps(
        full=replace(full, batch=together),
        full_steps=len(fulls) // settings.block_count,
        full_queries=full_queries,
        block=replace(_largest(blocks), batch=decode.batch),
        mean_queries=fmean(profile.queries for profile in blocks),
        copied=_largest(copied) if copied else None,
        capacity=rehearsal.steady_slots,
        staged=staged,
    )


def _largest(profiles: Iterable[Profile]) -> Profile:
    """Return the profile of the most queries, of these the one of the most logit rows."""
    return max(profiles, key=lambda profile: (profile.queries, profile.rows))
