"""The driver: runs the coroutines of decoding systems on an engine; batches, events, traces, cancelling and limits live here.

In each tick every sequence that wants a refresh gets it, one by one at batch 1, straight into its own lane of the cache;
then one batched step runs over all sequences that want the same sizes, the largest group first, none starved.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace

from ...graphs.contract import Profile
from ...graphs.errors import DllmEdgeError
from ..decoding.step import Answer, CacheOperation, Saliency, Select, Step, Store
from ..decoding.trace import StepTrace
from ..engines.base import Engine, Lanes, StepOutputs
from .batch import fill, fill_padding, result_of
from .cache_pool import Pools
from .request import Committed, Finished, Request, Sequence

Group = tuple[list[Sequence], Profile]
"""Sequences that share a step, and the sizes of one of them."""

PATIENCE = 4
"""Ticks after which the group that has waited longest goes before larger ones."""


class Scheduler:
    """Runs requests on one engine, at most `max_batch` at a time."""

    def __init__(self, engine: Engine, max_batch: int = 8) -> None:
        if max_batch < 1:
            raise DllmEdgeError(f"max_batch={max_batch}: must be at least 1")
        self.engine, self.max_batch = engine, max_batch
        self.steady_cache_bytes = self.peak_cache_bytes = 0

    def run(self, requests: Iterable[Request]) -> Generator[Committed | Finished, None, None]:
        """Decode all requests; events come as they happen. Closing the iterator abandons what is under way."""
        waiting = deque(requests)
        pools = Pools(self.engine, list(waiting), self.max_batch)
        self.steady_cache_bytes = self.peak_cache_bytes = pools.nbytes
        active: list[Sequence] = []
        try:
            while waiting or active:
                while waiting and len(active) < self.max_batch:
                    active.append(pools.admit(waiting.popleft()))
                for sequence in active:
                    yield from self._refresh(sequence)
                if groups := self._groups(active):
                    yield from self._run(*_most_urgent(groups, active))
                for sequence in [sequence for sequence in active if sequence.over]:
                    active.remove(sequence)
                    pools.release(sequence)
                    yield self._finish(sequence)
        finally:
            for sequence in active:
                sequence.coroutine.close()

    def _refresh(self, sequence: Sequence) -> Iterator[Committed]:
        """Run the pending refresh, if that is what the sequence wants, and the cache operations that follow."""
        step = sequence.pending
        if not isinstance(step, Step) or step.kind != "refresh" or sequence.over:
            return
        if step.staging:
            cache = self.engine.allocate(1, sequence.width, bound=True, read=False)
            sequence.staging = Lanes(cache, 0, 1)
            self.peak_cache_bytes = max(self.peak_cache_bytes, self.steady_cache_bytes + cache.nbytes)
        bind = sequence.staging or sequence.lane
        assert bind is not None
        # Rows beyond the canvas fill slots that nobody sees.
        yield from self._run([sequence], replace(self._sizes(sequence), queries=bind.cache.capacity), bind)
        sequence.staging = None

    def _groups(self, active: list[Sequence]) -> list[Group]:
        """The sequences that could share a step: neighbours in one cache, or any without a cache; and the sizes of one."""
        groups: dict[tuple[Profile, int, bool], list[Sequence]] = {}
        for sequence in active:
            step = sequence.pending
            if isinstance(step, Step) and step.kind != "refresh" and not sequence.over:
                sizes = self._sizes(sequence)
                place = id(sequence.lane.cache) if sizes.capacity and sequence.lane else 0
                groups.setdefault((sizes, place, step.keep_rows), []).append(sequence)
        return [(group, sizes) for (sizes, _, _), group in groups.items()]

    def _sizes(self, sequence: Sequence) -> Profile:
        """The sizes at which the engine runs the pending step, but an empty cache stays empty."""
        wanted = sequence.profile()
        sizes = self.engine.profile(wanted)
        return sizes if sizes.capacity == wanted.capacity else replace(sizes, capacity=wanted.capacity)

    def _run(self, group: list[Sequence], sizes: Profile, bind: Lanes | None = None) -> Iterator[Committed]:
        """One forward for the group, their answers, and the cache operations that they then ask for."""
        cached = group[0].lane.cache if sizes.capacity and group[0].lane else None
        lanes = [sequence.lane.first for sequence in group if sequence.lane] if cached else list(range(len(group)))
        count = max(lanes) - min(lanes) + 1
        profile = self.engine.profile(sizes if count == sizes.batch else replace(sizes, batch=count))
        # An engine may run more lanes than are wanted, and all of them must be there.
        first = min(min(lanes), cached.batch - profile.batch) if cached else 0
        cache = Lanes(cached, first, profile.batch) if cached else None
        inputs = self.engine.inputs(profile)
        places = [lane - first for lane in lanes]
        for row in set(range(profile.batch)) - set(places):
            fill_padding(inputs, row, profile)
        for sequence, row in zip(group, places, strict=True):
            assert isinstance(sequence.pending, Step)
            fill(inputs, row, sequence.pending, profile)
        started = time.perf_counter()
        keep_rows = any(isinstance(s.pending, Step) and s.pending.keep_rows for s in group)
        outputs = self.engine.run(profile, cache, bind, keep_rows)
        seconds = (time.perf_counter() - started) / len(group)
        # All before the first event: whoever takes it may run the engine, whose buffers hold the others' answers.
        answers = zip(group, places, strict=True)
        yield from [event for each, row in answers for event in self._receive(each, outputs, row, seconds, len(group))]

    def _receive(self, sequence: Sequence, outputs: StepOutputs, row: int, seconds: float, batch: int) -> list[Committed]:
        step, canvas = sequence.pending, sequence.request.canvas
        assert isinstance(step, Step)
        result = result_of(step, outputs, row)
        sequence.forwards += 1
        sequence.refresh_forwards += step.kind == "refresh"
        sequence.engine_seconds += seconds
        if step.saliency_weights is not None:
            sequence.saliency_queries = outputs.saliency_queries[row].copy()
        before = len(canvas.commits)
        sequence.answer(result)
        while isinstance(sequence.pending, CacheOperation):
            started = time.perf_counter()
            answer = self._operate(sequence, sequence.pending, row)
            sequence.engine_seconds += time.perf_counter() - started
            sequence.answer(answer)
        commits = canvas.commits[before:]
        if sequence.request.trace:
            sequence.trace.append(StepTrace.of(sequence.forwards, batch, result, commits, seconds))
        return [Committed(sequence.request, sequence.forwards, commit) for commit in commits]

    def _operate(self, sequence: Sequence, operation: CacheOperation, row: int) -> Answer:
        lane = sequence.lane
        assert lane is not None
        if isinstance(operation, Saliency):
            assert sequence.saliency_queries is not None
            return self.engine.saliency(sequence.staging or lane, sequence.saliency_queries)
        if isinstance(operation, Select):
            assert sequence.staging is not None
            self.engine.select(sequence.staging, operation.keep, lane)
        elif isinstance(operation, Store):
            self.engine.store(lane, operation.slots, row, operation.rows)
        return None

    def _finish(self, sequence: Sequence) -> Finished:
        sequence.coroutine.close()
        return Finished(
            sequence.request,
            sequence.reason,
            sequence.forwards,
            sequence.refresh_forwards,
            time.perf_counter() - sequence.started,
            sequence.engine_seconds,
            sequence.trace,
        )


def _most_urgent(groups: list[Group], active: list[Sequence]) -> Group:
    """The group whose turn it is; all others have waited for it."""
    chosen = max(groups, key=lambda group: _urgency(group[0]))
    for sequence in active:
        sequence.waited = 0 if sequence in chosen[0] else sequence.waited + 1
    return chosen


def _urgency(group: list[Sequence]) -> tuple[int, int]:
    """What a group is chosen by: how long it has waited, once that is too long; then its size."""
    waited = max(sequence.waited for sequence in group)
    return (waited if waited >= PATIENCE else 0, len(group))
