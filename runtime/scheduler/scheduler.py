"""The scheduler: runs the coroutines of decoding systems on engines; batches, events, traces, cancelling and limits live here.

Requests join and leave between its steps. In each, every sequence that wants a refresh gets it, neighbours of equal width
together, straight into their lanes of the cache; then one batched step runs over all sequences that want the same sizes,
the largest group first, none starved.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Mapping

import numpy as np

from ...graphs.errors import DllmEdgeError
from ..arrays import FloatArray
from ..decoding.step import MAIN, Refresh, Reserve, Saliency, Select, Step, StepResult, Store
from ..decoding.trace import StepTrace
from ..engines.base import Engine, Lanes, StepOutputs
from .batch import fill, fill_padding, result_of
from .cache_pool import CachePool
from .groups import Group, engine_of, next_step, wanted_refreshes
from .request import Changed, Finished, Request, SchedulerEvent
from .sequence import Sequence


class Scheduler:
    """Decodes requests on engines, at most `max_batch` at a time. `engine` is that of the model `main`, or all by model."""

    def __init__(self, engine: Engine | Mapping[str, Engine], max_batch: int = 8) -> None:
        if max_batch < 1:
            raise DllmEdgeError(f"max_batch={max_batch}: must be at least 1")
        self.engines = dict(engine) if isinstance(engine, Mapping) else {MAIN: engine}
        self.max_batch = max_batch
        self.pools = {model: CachePool(one, max_batch) for model, one in self.engines.items()}
        self.waiting: deque[Sequence] = deque()
        self.active: list[Sequence] = []
        self.steady_cache_bytes = self.peak_cache_bytes = 0
        """The most bytes that caches took between refreshes, and at any time."""

    @property
    def is_finished(self) -> bool:
        """Whether no request is waiting or under way."""
        return not self.waiting and not self.active

    def add(self, request: Request) -> None:
        """Let a request join at the next step in which fewer than `max_batch` are under way."""
        self.waiting.append(Sequence(request))

    def run(self, requests: Iterable[Request]) -> Generator[SchedulerEvent, None, None]:
        """Decode all requests; events come as they happen. Closing the iterator abandons what is under way."""
        try:
            for request in requests:
                self.add(request)
            while not self.is_finished:
                yield from self.step()
        finally:
            self.close()

    def close(self) -> None:
        """Abandon what is waiting and under way; other requests may be added then."""
        for sequence in (*self.waiting, *self.active):
            sequence.coroutine.close()
        self._release(self.active)
        self.waiting.clear()
        self.active.clear()

    def step(self) -> list[SchedulerEvent]:
        """Admit who waits, run the refreshes that are wanted and one batched step, and return what happened."""
        self._admit()
        events: list[SchedulerEvent] = []
        for group in wanted_refreshes(self.engines, self.active):
            events += self._run(group)
        group_of_step = next_step(self.engines, self.active)
        if group_of_step is not None:
            events += self._run(group_of_step)
        return events + self._finish()

    def _admit(self) -> None:
        while self.waiting and len(self.active) < self.max_batch:
            sequence = self.waiting.popleft()
            sequence.started = time.perf_counter()
            self.active.append(sequence)
            self._operate(sequence, 0)

    def _finish(self) -> list[Finished]:
        """End the sequences that are over, and give their lanes back."""
        over = [sequence for sequence in self.active if sequence.over]
        if over:
            self.active = [sequence for sequence in self.active if not sequence.over]
            self._release(over)
        return [sequence.finish() for sequence in over]

    def _release(self, sequences: Iterable[Sequence]) -> None:
        for sequence in sequences:
            for model, lane in sequence.lanes.items():
                self.pools[model].release(lane)
            sequence.lanes.clear()
        for model, pool in self.pools.items():
            pool.settle([slots for other in self.waiting if (slots := other.reserved(model))])

    def _run(self, group: Group) -> list[Changed]:
        """Run one forward for the group, answer its sequences, and do the cache operations that they then ask for."""
        engine = self.engines[group.model]
        inputs, bind = engine.inputs(group.profile), self._evicting(group) if group.evicts else group.bind
        if len(group.rows) < group.profile.batch:
            for row in set(range(group.profile.batch)).difference(group.rows):
                fill_padding(inputs, row, group.profile)
        for sequence, row in zip(group.sequences, group.rows, strict=True):
            fill(inputs, row, _forward(sequence), group.profile)
        started = time.perf_counter()
        outputs = engine.run(group.profile, group.cache, bind, group.keep_rows)
        seconds = (time.perf_counter() - started) / len(group.sequences)
        # All before the first event is seen: whoever takes it may run the engine, whose buffers hold the others' answers.
        pairs = zip(group.sequences, group.rows, strict=True)
        return [event for sequence, row in pairs for event in self._receive(group, sequence, outputs, row, seconds)]

    def _evicting(self, group: Group) -> Lanes:
        """Return a buffer for the one sequence of the group, which lives until its cache operations are over."""
        cache = self.engines[group.model].allocate(1, group.profile.queries, bound=True, read=False)
        group.sequences[0].evicting = Lanes(cache, 0, 1)
        self._count_caches(cache.nbytes)
        return group.sequences[0].evicting

    def _receive(self, group: Group, sequence: Sequence, outputs: StepOutputs, row: int, seconds: float) -> list[Changed]:
        """Answer one sequence, and return what it then changed on its canvas."""
        forward, canvas = _forward(sequence), sequence.request.canvas
        result = result_of(forward, outputs, row)
        sequence.forwards += 1
        sequence.engine_seconds += seconds
        if forward.saliency_weights is not None:
            sequence.saliency_queries = outputs.saliency_queries[row].copy()
        if isinstance(forward, Refresh):
            self._refreshed(group, sequence, forward, row)
        before = len(canvas.changes)
        sequence.answer(result)
        self._operate(sequence, row)
        sequence.evicting = None
        changes = canvas.changes[before:]
        self._trace(group, sequence, result, before, seconds)
        return [Changed(sequence.request, sequence.forwards, change) for change in changes]

    def _refreshed(self, group: Group, sequence: Sequence, refresh: Refresh, row: int) -> None:
        """Count a refresh, and copy its rows to the cache where they were not written there."""
        sequence.refresh_forwards += 1
        if group.bind is None and not group.evicts:
            slots = np.arange(refresh.input_ids.size)
            self.engines[group.model].store(sequence.lanes[group.model].lanes, slots, row, slots)

    def _trace(self, group: Group, sequence: Sequence, result: StepResult, before: int, seconds: float) -> None:
        choices = sequence.unmasking.take_choices()
        if sequence.request.trace:
            changes = sequence.request.canvas.changes[before:]
            batch = len(group.sequences)
            sequence.trace.append(StepTrace.of(sequence.forwards, batch, result, changes, choices, seconds))

    def _operate(self, sequence: Sequence, row: int) -> None:
        """Do the cache operations that a sequence asks for, up to the next forward; `row` was its own in the last one."""
        while (operation := sequence.operation) is not None:
            engine = engine_of(self.engines, operation.model)
            if isinstance(operation, Reserve):
                self._reserve(engine, sequence, operation)
                sequence.answer(None)
                continue
            started = time.perf_counter()
            answer = self._answer(engine, sequence, operation, row)
            sequence.engine_seconds += time.perf_counter() - started
            sequence.answer(answer)

    def _answer(self, engine: Engine, sequence: Sequence, operation: Saliency | Select | Store, row: int) -> FloatArray | None:
        lanes = sequence.lanes[operation.model].lanes
        if isinstance(operation, Saliency):
            assert sequence.saliency_queries is not None
            return engine.saliency(sequence.evicting or lanes, sequence.saliency_queries)
        if isinstance(operation, Select):
            assert sequence.evicting is not None
            engine.select(sequence.evicting, operation.keep, lanes)
        else:
            engine.store(lanes, operation.slots, row, operation.rows)
        return None

    def _reserve(self, engine: Engine, sequence: Sequence, operation: Reserve) -> None:
        """Give the sequence a lane of the slots that it asks for; what is in the smaller one that it had moves along."""
        pool, old = self.pools[operation.model], sequence.lanes.get(operation.model)
        if old is not None and old.cache.capacity >= operation.slots:
            return
        expected = [count for other in self.waiting if (count := other.reserved(operation.model, operation.bound))]
        lane = pool.take(operation.slots, operation.bound, expected)
        if old is not None:
            slots = np.arange(old.cache.capacity)
            engine.select(old.lanes, np.broadcast_to(slots, (engine.config.layers, slots.size)), lane.lanes)
            pool.release(old)
            pool.settle(expected)
        sequence.lanes[operation.model] = lane
        self._count_caches()

    def _count_caches(self, more: int = 0) -> None:
        """Note what the caches take now, with `more` bytes beside them for a moment."""
        nbytes = sum(pool.nbytes for pool in self.pools.values())
        self.steady_cache_bytes = max(self.steady_cache_bytes, nbytes)
        self.peak_cache_bytes = max(self.peak_cache_bytes, nbytes + more)


def _forward(sequence: Sequence) -> Step | Refresh:
    assert isinstance(sequence.pending, Step | Refresh)
    return sequence.pending
