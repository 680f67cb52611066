"""A recorder of what an engine is asked for, and short ways to run requests on one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.arrays import FloatArray, IntArray
from dllm_edge.runtime.decoding.changes import Commit
from dllm_edge.runtime.engines.base import Cache, Engine, Lanes, LoadedGraph, StepInputs, StepOutputs
from dllm_edge.runtime.scheduler.request import Finished, Request
from dllm_edge.runtime.scheduler.scheduler import Scheduler


@dataclass(frozen=True)
class Launch:
    """One call of `Engine.run`. Lanes are `(first, count, capacity)`; `visible` are the slots that the very first row sees."""

    profile: Profile
    cache: tuple[int, int, int] | None
    bind: tuple[int, int, int] | None
    input_ids: IntArray
    position_ids: IntArray
    visible: list[int]
    keep_rows: bool


class Recorder:
    """An engine that writes down what it is asked for: launches, operations (`store`, `saliency`, `select`), caches."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.config, self.name = engine, engine.config, engine.name
        self.sizes, self.cache_dtype, self.versions = engine.sizes, engine.cache_dtype, engine.versions
        self.launches: list[Launch] = []
        self.operations: list[str] = []
        self.allocated: list[tuple[int, int]] = []

    def profile(self, wanted: Profile) -> Profile:
        return self.engine.profile(wanted)

    def allocate(self, batch: int, capacity: int, bound: bool, read: bool) -> Cache:
        self.allocated.append((batch, capacity))
        return self.engine.allocate(batch, capacity, bound, read)

    def inputs(self, profile: Profile) -> StepInputs:
        return self.engine.inputs(profile)

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        given = self.engine.inputs(profile)
        visible = np.flatnonzero(given.attention_mask[0, 0, 0, : profile.capacity]).tolist()
        sent = given.input_ids.copy(), given.position_ids.copy()
        self.launches.append(Launch(profile, place(cache), place(bind), *sent, visible, keep_rows))
        return self.engine.run(profile, cache, bind, keep_rows)

    def store(self, cache: Lanes, slots: IntArray, row: int, rows: IntArray) -> None:
        self.operations.append("store")
        self.engine.store(cache, slots, row, rows)

    def copy(self, source: Lanes, target: Lanes) -> None:
        self.operations.append("copy")
        self.engine.copy(source, target)

    def saliency(self, cache: Lanes, queries: FloatArray) -> FloatArray:
        self.operations.append("saliency")
        return self.engine.saliency(cache, queries)

    def select(self, source: Lanes, keep: IntArray, target: Lanes) -> None:
        self.operations.append("select")
        self.engine.select(source, keep, target)

    def loaded_step(self) -> LoadedGraph | None:
        return self.engine.loaded_step()


def place(lanes: Lanes | None) -> tuple[int, int, int] | None:
    return (lanes.first, lanes.count, lanes.cache.capacity) if lanes else None


def finish(engine: Engine, requests: Sequence[Request], max_batch: int = 8) -> list[Finished]:
    """Run requests to their end; their ends in the requests' order."""
    ends = {id(event.request): event for event in Scheduler(engine, max_batch).run(requests) if isinstance(event, Finished)}
    return [ends[id(request)] for request in requests]


def commits(engine: Engine, request: Request) -> list[Commit]:
    """The commits of one request, run alone."""
    finish(engine, [request])
    return request.canvas.commits
