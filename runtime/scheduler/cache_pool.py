"""The caches of a run and who has which lane of them."""

from __future__ import annotations

import time

from ..engines.base import Cache, Engine, Lanes
from .request import Request, Sequence


class Pools:
    """The caches of a run: one a system, with a lane for each sequence under way, all of the size its longest needs."""

    def __init__(self, engine: Engine, requests: list[Request], max_batch: int) -> None:
        self.widths: dict[str, int] = {}
        self.free: dict[str, list[Lanes]] = {}
        for name in {request.system.name for request in requests}:
            mine = [request for request in requests if request.system.name == name]
            capacity = max(request.system.capacity(request.canvas, request.settings) for request in mine)
            self.widths[name] = max(len(request.canvas) for request in mine)
            if capacity:
                batch = min(max_batch, len(mine))
                cache = engine.allocate(batch, capacity, bound=not mine[0].system.staged, read=True)
                self.free[name] = [Lanes(cache, lane, 1) for lane in range(cache.batch)]

    @property
    def nbytes(self) -> int:
        caches: list[Cache] = [lanes[0].cache for lanes in self.free.values()]
        return sum(cache.nbytes for cache in caches)

    def admit(self, request: Request) -> Sequence:
        name = request.system.name
        lane = self.free[name].pop(0) if name in self.free else None
        return Sequence(request, self.widths[name], lane, time.perf_counter())

    def release(self, sequence: Sequence) -> None:
        if sequence.lane:
            self.free[sequence.request.system.name].append(sequence.lane)
