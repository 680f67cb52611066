"""The scheduler: runs the coroutines of decoding systems on engines; batches, events, traces, cancelling and limits live here.

Requests join and leave between its steps. In each, every sequence that wants a refresh gets it, neighbours of equal width
together, straight into their lanes of the cache; then one batched step runs over all sequences that want the same sizes,
the largest group first, none starved.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Generator, Iterable, Mapping

import numpy as np

from ...graphs.errors import DllmEdgeError
from ...graphs.schema import whole_number
from ..arrays import FloatArray
from ..decoding.changes import Change
from ..decoding.step import MAIN, CacheOperation, Refresh, Reserve, Saliency, Select, Step, StepResult, Store
from ..decoding.trace import StepTrace
from ..engines.base import Engine, Lanes, StepOutputs
from .batch import fill, fill_padding, result_of
from .cache_pool import CachePool
from .checks import check_forward, check_operation
from .groups import Group, engine_of, next_step, wanted_refreshes
from .request import Changed, Finished, Request, SchedulerEvent
from .sequence import Sequence


class Scheduler:
    """Decodes requests on engines, at most `max_batch` at a time. `engine` is that of the model `main`, or all by model."""

    def __init__(self, engine: Engine | Mapping[str, Engine], max_batch: int = 8) -> None:
        if whole_number(max_batch, "max_batch", least=-math.inf) < 1:
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
        """Decode all requests; events come as they happen. Closing the iterator abandons what is under way.

        Raises what a request failed with.
        """
        try:
            for request in requests:
                self.add(request)
            while not self.is_finished:
                for event in self.step():
                    if isinstance(event, Finished) and event.error is not None:
                        raise event.error
                    yield event
        finally:
            self.close()

    def close(self) -> None:
        """Abandon what is waiting and under way; other requests may be added then."""
        for sequence in (*self.waiting, *self.active):
            sequence.close()
        self.waiting.clear()
        self._release(self.active)
        self.active.clear()

    def step(self) -> list[SchedulerEvent]:
        """Admit who waits, run the refreshes that are wanted and one batched step, and return what happened.

        A request that fails, by what its coroutine or an engine raises, is finished by that and leaves the others as they are.
        """
        self._admit()
        events: list[SchedulerEvent] = [*self._refresh()]
        group = next_step(self.engines, self.active)
        if group is not None:
            events += self._run(group)
        return events + self._finish()

    def _admit(self) -> None:
        while self.waiting and len(self.active) < self.max_batch:
            sequence = self.waiting.popleft()
            sequence.started = time.perf_counter()
            self.active.append(sequence)
            if not sequence.over:
                self._operate(sequence, 0)

    def _refresh(self) -> list[Changed]:
        """Run one refresh for each sequence that wants one, in groups that are formed anew after each: lanes may have moved."""
        events: list[Changed] = []
        wanting = [sequence for sequence in self.active if sequence.refresh is not None]
        while groups := wanted_refreshes(self.engines, wanting):
            events += self._run(groups[0])
            wanting = [sequence for sequence in wanting if sequence not in groups[0].sequences]
        return events

    def _finish(self) -> list[SchedulerEvent]:
        """End the sequences that are over, and give their lanes back."""
        over = [sequence for sequence in self.active if sequence.over]
        over += [sequence for sequence in self.waiting if sequence.request.cancelled]
        if over:
            self.active = [sequence for sequence in self.active if sequence not in over]
            self.waiting = deque(sequence for sequence in self.waiting if sequence not in over)
            self._release(over)
        events: list[SchedulerEvent] = []
        for sequence in over:
            events += [*_changed(sequence), sequence.finish()]
        return events

    def _release(self, sequences: Iterable[Sequence]) -> None:
        for sequence in sequences:
            for model, lane in sequence.lanes.items():
                self.pools[model].release(lane)
            sequence.lanes.clear()
        for model, pool in self.pools.items():
            pool.settle([slots for other in self.waiting if (slots := other.reserved(model))])

    def _run(self, group: Group) -> list[Changed]:
        """Run one forward for the group, answer its sequences, and do the cache operations that they then ask for."""
        try:
            outputs, seconds = self._outputs(group)
        except Exception as error:
            for sequence in group.sequences:
                sequence.fail(error)
            return []
        # All before the first event is seen: whoever takes it may run the engine, whose buffers hold the others' answers.
        pairs = zip(group.sequences, group.rows, strict=True)
        return [event for sequence, row in pairs for event in self._receive(group, sequence, outputs, row, seconds)]

    def _outputs(self, group: Group) -> tuple[StepOutputs, float]:
        """Run one forward, and return what it gives and each sequence's share of its seconds."""
        engine = self.engines[group.model]
        inputs, bind = engine.inputs(group.profile), self._evicting(group) if group.evicts else group.bind
        if len(group.rows) < group.profile.batch:
            for row in set(range(group.profile.batch)).difference(group.rows):
                fill_padding(inputs, row, group.profile)
        for sequence, row in zip(group.sequences, group.rows, strict=True):
            fill(inputs, row, _forward(sequence), group.profile)
        started = time.perf_counter()
        outputs = engine.run(group.profile, group.cache, bind, group.keep_rows)
        return outputs, (time.perf_counter() - started) / len(group.sequences)

    def _evicting(self, group: Group) -> Lanes:
        """Return a buffer for the one sequence of the group, which lives until its cache operations are over."""
        cache = self.engines[group.model].allocate(1, group.profile.queries, bound=True, read=False)
        group.sequences[0].evicting = Lanes(cache, 0, 1)
        self._count_caches(cache.nbytes)
        return group.sequences[0].evicting

    def _receive(self, group: Group, sequence: Sequence, outputs: StepOutputs, row: int, seconds: float) -> list[Changed]:
        """Answer one sequence, and return what it then changed on its canvas."""
        forward = _forward(sequence)
        result = result_of(forward, outputs, row)
        sequence.last = forward
        sequence.forwards += 1
        sequence.rows_sent += forward.input_ids.size
        sequence.engine_seconds += seconds
        if forward.saliency_weights is not None:
            sequence.saliency_queries = outputs.saliency_queries[row].copy()
        try:
            if isinstance(forward, Refresh):
                self._refreshed(group, sequence, forward, row)
        except Exception as error:
            sequence.fail(error)
        else:
            sequence.answer(result)
        self._operate(sequence, row)
        sequence.evicting = None
        changed = _changed(sequence)
        self._trace(group, sequence, result, [event.change for event in changed], seconds)
        return changed

    def _refreshed(self, group: Group, sequence: Sequence, refresh: Refresh, row: int) -> None:
        """Count a refresh, and copy its rows to the cache where they were not written there."""
        sequence.refresh_forwards += 1
        if group.bind is None and not group.evicts:
            slots = np.arange(refresh.input_ids.size)
            self.engines[group.model].store(sequence.lanes[group.model].lanes, slots, row, slots)

    def _trace(self, group: Group, sequence: Sequence, result: StepResult, changes: list[Change], seconds: float) -> None:
        choices = sequence.unmasking.take_choices()
        if sequence.request.trace:
            batch = len(group.sequences)
            sequence.trace.append(StepTrace.of(sequence.forwards, batch, result, changes, choices, seconds))

    def _operate(self, sequence: Sequence, row: int) -> None:
        """Do the cache operations that a sequence asks for, up to the next forward; `row` was its own in the last one."""
        try:
            while (operation := sequence.operation) is not None:
                sequence.answer(self._answer(sequence, operation, row))
            check_forward(self.engines, sequence)
        except Exception as error:
            sequence.fail(error)

    def _answer(self, sequence: Sequence, operation: CacheOperation, row: int) -> FloatArray | None:
        engine = engine_of(self.engines, operation.model)
        if isinstance(operation, Reserve):
            self._reserve(engine, sequence, operation)
            return None
        check_operation(sequence, operation)
        started = time.perf_counter()
        answer = self._operated(engine, sequence, operation, row)
        sequence.engine_seconds += time.perf_counter() - started
        return answer

    def _operated(
        self, engine: Engine, sequence: Sequence, operation: Saliency | Select | Store, row: int
    ) -> FloatArray | None:
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
        if old is not None and old.cache.capacity >= operation.slots and old.bound >= operation.bound:
            return
        expected = [count for other in self.waiting if (count := other.reserved(operation.model, operation.bound))]
        slots = max(operation.slots, old.cache.capacity if old else 0)
        lane = pool.take(slots, operation.bound or (old is not None and old.bound), expected)
        self._count_caches()
        sequence.lanes[operation.model] = lane
        if old is not None:
            every = np.arange(old.cache.capacity)
            try:
                engine.select(old.lanes, np.broadcast_to(every, (engine.config.layers, every.size)), lane.lanes)
            finally:
                pool.release(old)
            pool.settle(expected)

    def _count_caches(self, more: int = 0) -> None:
        """Note what the caches take now, with `more` bytes beside them for a moment."""
        nbytes = sum(pool.nbytes for pool in self.pools.values())
        self.steady_cache_bytes = max(self.steady_cache_bytes, nbytes)
        self.peak_cache_bytes = max(self.peak_cache_bytes, nbytes + more)


def _changed(sequence: Sequence) -> list[Changed]:
    return [Changed(sequence.request, sequence.forwards, change) for change in sequence.take_changes()]


def _forward(sequence: Sequence) -> Step | Refresh:
    assert isinstance(sequence.pending, Step | Refresh)
    return sequence.pending
