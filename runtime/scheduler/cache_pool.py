"""The caches of one engine, and who has which lane of them: they grow and shrink with the sequences under way."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from ...graphs.errors import DllmEdgeError
from ..engines.base import Cache, Engine, Lanes

LARGEST_RATIO = 2
"""A sequence takes a lane of fewer than so many times the slots that it needs; else it gets a cache of its own size."""


@dataclass(eq=False)
class Lane:
    """One sequence's slots: lane `index` of a cache. Both change when the cache grows, shrinks or closes a gap.

    `bound` says that refreshes may write into it.
    """

    cache: Cache
    index: int
    bound: bool

    @property
    def lanes(self) -> Lanes:
        return Lanes(self.cache, self.index, 1)


@dataclass(eq=False)
class _Shelf:
    """A cache and the lanes of it that are in use: its first, but for gaps between `release` and `settle`."""

    cache: Cache
    bound: bool
    lanes: list[Lane]

    def fits(self, slots: int) -> bool:
        return slots <= self.cache.capacity < LARGEST_RATIO * slots


class CachePool:
    """Lanes of caches on one engine, at most `max_batch` in one cache."""

    def __init__(self, engine: Engine, max_batch: int) -> None:
        self.engine, self.max_batch = engine, max_batch
        self.shelves: list[_Shelf] = []

    @property
    def nbytes(self) -> int:
        return sum(shelf.cache.nbytes for shelf in self.shelves)

    def take(self, slots: int, bound: bool, expected: Collection[int] = ()) -> Lane:
        """Return a lane of at least `slots` slots; `bound` says that refreshes write into it.

        `expected` are the slots that other sequences will ask for soon: a new cache is made for them, too. Raises
        `DllmEdgeError` where the engine has no such cache.
        """
        coming = [other for other in expected if other < LARGEST_RATIO * slots]
        shelf = min(self._fitting(slots, bound), key=lambda one: one.cache.capacity, default=None)
        if shelf is None:
            shelf = _Shelf(self._new_cache(slots, coming, bound), bound, [])
            self.shelves.append(shelf)
        elif len(shelf.lanes) == shelf.cache.batch:
            self._grow(shelf, len(coming))
        lane = Lane(shelf.cache, len(shelf.lanes), bound)
        shelf.lanes.append(lane)
        return lane

    def release(self, lane: Lane) -> None:
        """Give a lane back; `settle` then closes the gap that it leaves."""
        for shelf in self.shelves:
            if lane in shelf.lanes:
                shelf.lanes.remove(lane)

    def settle(self, expected: Collection[int] = ()) -> None:
        """Close gaps, drop the caches that nobody has or is `expected` to want, and shrink half empty ones if nobody is.

        One that there is no room to shrink stays as it is.
        """
        self.shelves = [shelf for shelf in self.shelves if shelf.lanes or any(map(shelf.fits, expected))]
        for shelf in self.shelves:
            self._close_gaps(shelf)
            if not expected and 2 * len(shelf.lanes) <= shelf.cache.batch:
                with suppress(DllmEdgeError):
                    self._resize(shelf, len(shelf.lanes))

    def _close_gaps(self, shelf: _Shelf) -> None:
        """Move the last lanes to the places of those that are gone, so that steps over all have none."""
        count = len(shelf.lanes)
        gaps = set(range(count)) - {lane.index for lane in shelf.lanes}
        for lane, gap in zip([lane for lane in shelf.lanes if lane.index >= count], sorted(gaps), strict=True):
            self.engine.copy(lane.lanes, Lanes(shelf.cache, gap, 1))
            lane.index = gap
        shelf.lanes.sort(key=lambda lane: lane.index)

    def _fitting(self, slots: int, bound: bool) -> list[_Shelf]:
        """Return the caches that have a lane for `slots` slots, or can have one."""
        exact = self.engine.sizes.cache(1, slots, bound, True)[1]
        return [
            shelf
            for shelf in self.shelves
            if shelf.bound == bound
            and (shelf.fits(slots) or shelf.cache.capacity == exact)
            and len(shelf.lanes) < self.max_batch
        ]

    def _new_cache(self, slots: int, coming: Collection[int], bound: bool) -> Cache:
        """Return a cache for one sequence and those that are coming; for it alone where the engine has none for all."""
        try:
            count = min(self.max_batch, 1 + len(coming))
            return self.engine.allocate(count, max(slots, *coming, 0), bound=bound, read=True)
        except DllmEdgeError:
            return self.engine.allocate(1, slots, bound=bound, read=True)

    def _grow(self, shelf: _Shelf, coming: int) -> None:
        """Make room for one sequence more and those that are coming; for it alone where the engine has none for all."""
        used = len(shelf.lanes)
        try:
            self._resize(shelf, min(self.max_batch, max(2 * used, used + 1 + coming)))
        except DllmEdgeError:
            self._resize(shelf, used + 1)

    def _resize(self, shelf: _Shelf, count: int) -> None:
        """Move the lanes of a cache to another of `count` lanes, or of as many as the engine has for them."""
        capacity, used = shelf.cache.capacity, len(shelf.lanes)
        if self.engine.sizes.cache(count, capacity, shelf.bound, True)[0] == shelf.cache.batch:
            return
        cache = self.engine.allocate(count, capacity, bound=shelf.bound, read=True)
        self.engine.copy(Lanes(shelf.cache, 0, used), Lanes(cache, 0, used))
        shelf.cache = cache
        for lane in shelf.lanes:
            lane.cache = cache
