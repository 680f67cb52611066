"""Sequences that join and leave while others run, caches that follow them, and failures that stay their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.arrays import IntArray
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.step import MAIN, Forward, Reserve, Select, Store
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.engines.base import Lanes, StepOutputs
from dllm_edge.runtime.engines.host import HostCache
from dllm_edge.runtime.engines.sizes import AnySizes
from dllm_edge.runtime.scheduler.groups import PATIENCE
from dllm_edge.runtime.scheduler.request import Finished, Request
from dllm_edge.runtime.scheduler.scheduler import Scheduler
from dllm_edge.runtime.systems.base import Decode, Decoding
from dllm_edge.runtime.unmasking.unmasking import Unmasking

from ..numpy_engine import MASK, NumpyEngine
from ..recorder import Recorder
from ..scripted import PROMPTS, request, scripted, windows
from ..systems.step_equality import assert_same
from .runs import run, system

TOLERANCE = 1e-4
DUAL = "fast-dllm-dual"


def drained(scheduler: Scheduler) -> dict[int, Finished]:
    ends: dict[int, Finished] = {}
    while not scheduler.is_finished:
        ends.update({id(event.request): event for event in scheduler.step() if isinstance(event, Finished)})
    return ends


def alone(asked: Request, name: str = DUAL) -> list[int]:
    other = request(name, asked.canvas.tokens[: asked.canvas.start].tolist(), gen_length=asked.settings.gen_length)
    run(NumpyEngine(), [other])
    return [int(token) for token in other.canvas.tokens]


def equal_to_alone(asked: list[Request]) -> bool:
    return all(each.canvas.tokens.tolist() == alone(each) for each in asked)


def test_caches_grow_and_shrink_with_those_who_join_and_leave() -> None:
    engine = Recorder(NumpyEngine())
    scheduler, lane = Scheduler(engine), NumpyEngine().allocate(1, 24).nbytes
    asked = [request(DUAL, PROMPTS[2], gen_length=length) for length in (16, 14, 12, 16, 16)]
    lanes = []
    for each in asked:
        scheduler.add(each)
        scheduler.step()
        lanes.append(scheduler.pools[MAIN].nbytes // lane)
    assert lanes == [1, 2, 4, 4, 8]
    left = []
    while not scheduler.is_finished:
        scheduler.step()
        left.append(scheduler.pools[MAIN].nbytes // lane)
    assert (max(left), left[-1], left == sorted(left, reverse=True)) == (8, 0, True)
    assert {2, 4} & set(left)
    assert scheduler.steady_cache_bytes == 8 * lane
    assert [batch for batch, _ in engine.allocated][:4] == [1, 2, 4, 8]
    assert equal_to_alone(asked)


def test_who_joins_late_shares_steps_with_those_under_way_and_the_first_done_leaves_first() -> None:
    engine = Recorder(NumpyEngine())
    scheduler = Scheduler(engine)
    asked = [request(DUAL, PROMPTS[2]) for _ in range(3)]
    scheduler.add(asked[0])
    ends: list[Request] = []
    for joining in (*asked[1:], None):
        for _ in range(3):
            ends += [event.request for event in scheduler.step() if isinstance(event, Finished)]
        if joining is not None:
            scheduler.add(joining)
    blocks = [launch.profile.batch for launch in engine.launches if launch.cache]
    assert max(blocks) == 3
    while not scheduler.is_finished:
        ends += [event.request for event in scheduler.step() if isinstance(event, Finished)]
    assert ends == asked
    assert equal_to_alone(asked)


def test_who_is_cancelled_frees_its_lane_for_the_next_under_way_or_waiting() -> None:
    engine = Recorder(NumpyEngine())
    scheduler = Scheduler(engine, max_batch=2)
    asked = [request(DUAL, PROMPTS[2]) for _ in range(5)]
    for each in asked:
        scheduler.add(each)
    scheduler.step()
    asked[0].cancel()
    asked[4].cancel()
    ended = [event for event in scheduler.step() if isinstance(event, Finished)]
    assert [(event.request, event.reason) for event in ended] == [(asked[0], "cancelled"), (asked[4], "cancelled")]
    scheduler.step()
    assert [sequence.request for sequence in scheduler.active] == asked[1:3]
    drained(scheduler)
    assert engine.allocated[0] == (2, 24)
    assert all(batch <= 2 for batch, _ in engine.allocated)
    assert equal_to_alone(asked[1:4])


def test_no_group_starves_with_a_stream_of_joiners() -> None:
    """One whose steps nobody shares, among many that come and go."""
    engine = Recorder(NumpyEngine())
    scheduler = Scheduler(engine, max_batch=6)
    scheduler.add(request(scripted(windows(1)), gen_length=30, block_length=0, max_steps=10))
    turns: list[int] = []
    while len(turns) < 100:
        while len(scheduler.waiting) < 6:
            scheduler.add(request(scripted(windows(2)), gen_length=30, block_length=0, max_steps=3))
        before = len(engine.launches)
        scheduler.step()
        turns += [launch.profile.queries for launch in engine.launches[before:]]
    mine = [-1, *(index for index, rows in enumerate(turns) if rows == 1)]
    assert len(mine) == 11
    assert max(np.diff(mine)) <= PATIENCE + 1


def failing(at: int) -> Decode:
    """A system that fails after so many forwards: steps, or a refresh that begins a block."""

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        yield Reserve(len(canvas))
        for block, rule in unmasking.blocks():
            while rule.pending:
                begins = rule.step == 0
                step = canvas.refresh(predict=block) if begins else canvas.step(block, visible=canvas.outside(block))
                rule.commit((yield step))
                if len(canvas.changes) == at:
                    raise ArithmeticError("of its own")

    return decode


@pytest.mark.parametrize("at", [2, 5, 9])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_who_fails_in_a_batch_fails_alone(at: int, place: int) -> None:
    """What it did until then is known, its lane is free, and the others' tokens are as ever."""
    scheduler = Scheduler(NumpyEngine())
    asked = [request(DUAL, prompt) for prompt in PROMPTS]
    asked[place] = request(system(failing(at)), PROMPTS[place])
    for each in asked:
        scheduler.add(each)
    ends = drained(scheduler)
    assert len(ends) == 3
    end = ends[id(asked[place])]
    assert (end.reason, type(end.error)) == ("failed", ArithmeticError)
    assert len([change for step in end.trace for change in step.changes]) == len(asked[place].canvas.changes) == at
    assert scheduler.pools[MAIN].nbytes == 0
    assert equal_to_alone([each for index, each in enumerate(asked) if index != place])


def test_an_engine_that_fails_loses_one_group() -> None:
    """A step of three rows fails; refreshes, and the steps of those who decode otherwise, go on."""

    class Failing(NumpyEngine):
        def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
            if profile.queries == 3:
                raise MemoryError
            return super().run(profile, cache, bind, keep_rows)

    scheduler = Scheduler(Failing())
    asked = [request(DUAL, prompt, block_length=length) for prompt, length in zip(PROMPTS, (8, 3, 8), strict=True)]
    for each in asked:
        scheduler.add(each)
    ends = drained(scheduler)
    assert [ends[id(each)].reason for each in asked] == ["complete", "failed", "complete"]
    assert equal_to_alone([asked[0], asked[2]])


def test_more_than_an_engine_takes_at_once_take_turns() -> None:
    """Steps without a cache, which no lanes bound: two at a time, and nobody waits until others are done."""

    class Pairs(AnySizes):
        def profile(self, wanted: Profile) -> Profile:
            if wanted.batch > 2:
                raise DllmEdgeError("no profile")
            return wanted

    narrow = NumpyEngine()
    narrow.sizes = Pairs()
    engine = Recorder(narrow)
    scheduler = Scheduler(engine)
    asked = [request("vanilla", PROMPTS[2], early_stop=False) for _ in range(5)]
    for each in asked:
        scheduler.add(each)
    scheduler.step()
    ahead: list[int] = []
    while len(scheduler.active) == len(asked):
        forwards = [sequence.forwards for sequence in scheduler.active]
        ahead.append(max(forwards) - min(forwards))
        scheduler.step()
    assert {end.reason for end in drained(scheduler).values()} == {"complete"}
    assert max(ahead) == 1
    assert max(launch.profile.batch for launch in engine.launches) == 2
    assert len({tuple(each.canvas.tokens.tolist()) for each in asked}) == 1


class Short(NumpyEngine):
    """Does no `select`, nor makes a cache where `full`, nor stores the rows of a refresh of 29 tokens."""

    full = False

    def allocate(self, batch: int, capacity: int, bound: bool = True, read: bool = True) -> HostCache:
        if self.full:
            raise DllmEdgeError("no memory")
        return super().allocate(batch, capacity, bound, read)

    def select(self, source: Lanes, keep: IntArray, target: Lanes) -> None:
        raise DllmEdgeError("no select")

    def store(self, cache: Lanes, slots: IntArray, row: int, rows: IntArray) -> None:
        if slots.size == 29:
            raise DllmEdgeError("no store")
        super().store(cache, slots, row, rows)


def test_rows_of_a_refresh_that_cannot_be_copied_fail_its_request() -> None:
    """A cache of more slots than the refresh fills: its rows are copied there."""

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        yield Reserve(60)
        yield canvas.refresh(predict=canvas.whole)

    scheduler = Scheduler(Short())
    asked = [request(DUAL), request(system(decode), PROMPTS[0], gen_length=29 - len(PROMPTS[0])), request(DUAL, PROMPTS[2])]
    for each in asked:
        scheduler.add(each)
    ends = drained(scheduler)
    assert [ends[id(each)].reason for each in asked] == ["complete", "failed", "complete"]
    assert str(ends[id(asked[1])].error) == "no store"
    assert equal_to_alone([asked[0], asked[2]])


def test_a_cache_that_cannot_be_moved_to_is_given_back() -> None:
    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        yield Reserve(8)
        yield canvas.step(canvas.whole)
        yield Reserve(60)

    scheduler = Scheduler(Short())
    asked = request(system(decode))
    scheduler.add(asked)
    assert drained(scheduler)[id(asked)].reason == "failed"
    assert scheduler.pools[MAIN].nbytes == 0


def test_a_cache_that_cannot_shrink_stays() -> None:
    """Whoever leaves ends as ever, where there is no memory for a smaller cache beside the larger one."""
    engine = Short()
    scheduler = Scheduler(engine)
    asked = [request(DUAL, PROMPTS[2]) for _ in range(4)]
    for each in asked:
        scheduler.add(each)
    scheduler.step()
    full, engine.full = scheduler.pools[MAIN].nbytes, True
    for each in asked[:3]:
        each.cancel()
    assert len([event for event in scheduler.step() if isinstance(event, Finished)]) == 3
    assert scheduler.pools[MAIN].nbytes == full
    assert drained(scheduler)[id(asked[3])].reason == "complete"
    assert equal_to_alone(asked[3:])
    assert scheduler.pools[MAIN].nbytes == 0


def test_sizes_that_an_engine_does_not_have_fail_one_request() -> None:
    class Narrow(AnySizes):
        def profile(self, wanted: Profile) -> Profile:
            if wanted.queries == 3:
                raise DllmEdgeError("no profile")
            return wanted

        def cache(self, batch: int, capacity: int, bound: bool, read: bool) -> tuple[int, int]:
            if capacity > 24:
                raise DllmEdgeError("no cache")
            return batch, capacity

    engine = NumpyEngine()
    engine.sizes = Narrow()
    scheduler = Scheduler(engine)
    asked = [request(DUAL, PROMPTS[2]), request(DUAL, block_length=3), request(DUAL, PROMPTS[2], gen_length=24)]
    for each in asked:
        scheduler.add(each)
    ends = drained(scheduler)
    assert [ends[id(each)].reason for each in asked] == ["complete", "failed", "failed"]
    assert [str(ends[id(each)].error) for each in asked[1:]] == ["no profile", "no cache"]
    assert equal_to_alone(asked[:1])


@pytest.mark.parametrize(
    ("asks", "message"),
    [
        (lambda canvas: [canvas.refresh(predict=canvas.whole)], "reserve one first"),
        (lambda canvas: [Reserve(8), canvas.refresh(predict=canvas.whole)], "of 21 rows fills a cache of 8"),
        (lambda canvas: [Reserve(8), canvas.step(canvas.whole, visible=np.ones(9, dtype=np.bool_))], "sees 9 slots"),
        (lambda canvas: [canvas.step(canvas.whole, visible=np.ones(1, dtype=np.bool_))], "sees 1 slots"),
        (lambda canvas: [canvas.step(canvas.whole, input_ids=np.full(21, 41))], "the model's own"),
        (lambda canvas: [canvas.step(canvas.whole, own_mask=np.ones((2, 2), dtype=np.bool_))], r"\[Q, Q\]"),
        (lambda canvas: [canvas.step(canvas.whole, input_ids=np.zeros(3, dtype=np.int64))], "its position"),
        (lambda canvas: [canvas.step(canvas.whole, logit_rows=np.zeros(3, dtype=np.int64))], "predicts one position"),
        (lambda canvas: [Reserve(8), canvas.step(canvas.whole), Store(np.zeros(1, int), np.zeros(1, int))], "last forward"),
        (lambda canvas: [Store(np.zeros(1, int), np.zeros(1, int))], "no cache was reserved"),
        (lambda canvas: [Reserve(8), Select(np.zeros((3, 1), int))], "an evicting refresh"),
        (
            lambda canvas: [Reserve(8), canvas.step(canvas.whole, keep_rows=True), Store(np.array([8]), np.zeros(1, int))],
            "slots that are there",
        ),
        (lambda canvas: [Forward(np.zeros(1, int), np.zeros(1, int), np.zeros(1, int), np.zeros(1, int))], "a decode yields"),
    ],
)
def test_what_no_system_should_ask_for_is_said_to_the_one_that_does(asks: Callable[[Canvas], list[Any]], message: str) -> None:
    """And to no other that decodes beside it."""

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        yield from iterate(asks(canvas))

    def iterate(wanted: list[Any]) -> Decoding:
        while wanted:
            yield wanted.pop(0)

    scheduler = Scheduler(NumpyEngine())
    asked = [request(DUAL), request(system(decode)), request(DUAL, PROMPTS[2])]
    for each in asked:
        scheduler.add(each)
    ends = drained(scheduler)
    with pytest.raises(AssertionError, match=message):
        raise ends[id(asked[1])].error or ValueError
    assert equal_to_alone([asked[0], asked[2]])


def test_a_cache_that_grows_between_refreshes_of_others_leaves_theirs_whole() -> None:
    """One refresh's answer is a larger cache; the gap that it leaves is closed before the others' refreshes are written."""

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        block = Block(canvas.start, canvas.start + 4)
        yield Reserve(len(canvas))
        yield canvas.refresh(predict=block)
        if len(canvas) == 24:
            yield Reserve(60)
        cached = yield canvas.step(block, visible=canvas.outside(block))
        exact = yield canvas.step(canvas.whole, predict=block)
        assert assert_same(cached, exact, TOLERANCE) == 4

    engine = NumpyEngine()
    asked = [request(system(decode), prompt, gen_length=length) for prompt, length in [(PROMPTS[2], 16), (PROMPTS[0], 15)] * 2]
    with pytest.MonkeyPatch.context() as patch:
        # Each refresh is a group of its own.
        patch.setattr("dllm_edge.runtime.scheduler.groups.LARGEST_REFRESH", 1)
        ends = run(engine, asked)
    assert [end.reason for end in ends] == ["complete"] * 4


def test_a_closed_scheduler_holds_nothing_and_may_be_used_again() -> None:
    closed: list[int] = []

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        try:
            yield from failing(99)(canvas, settings, unmasking)
        finally:
            closed.append(len(canvas))
            raise ArithmeticError("while it is closed")

    scheduler = Scheduler(NumpyEngine(), max_batch=2)
    for prompt in PROMPTS:
        scheduler.add(request(system(decode), prompt))
    scheduler.step()
    scheduler.close()
    # A coroutine that never began has nothing to clean up.
    assert len(closed) == 3
    assert (scheduler.pools[MAIN].nbytes, scheduler.is_finished) == (0, True)
    for prompt in PROMPTS:
        scheduler.add(request(DUAL, prompt))
    scheduler.step()
    scheduler.close()
    assert scheduler.pools[MAIN].nbytes == 0, "nothing is kept for those who waited"
    again = [request(DUAL, prompt) for prompt in PROMPTS]
    for each in again:
        scheduler.add(each)
    drained(scheduler)
    assert equal_to_alone(again)
    assert MASK not in again[0].canvas.tokens


def test_a_cache_for_stored_rows_becomes_one_that_refreshes_fill() -> None:
    """And keeps what was stored."""

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        yield Reserve(len(canvas), bound=False)
        first = Block(0, 2)
        yield canvas.step(first, visible=np.zeros(0, dtype=np.bool_), keep_rows=True)
        yield Store(np.arange(2), np.arange(2))
        before = yield canvas.step(Block(2, 4), visible=np.arange(2) < 2)
        yield Reserve(4)
        after = yield canvas.step(Block(2, 4), visible=np.arange(2) < 2)
        assert assert_same(before, after, 0.0) == 2
        yield canvas.refresh(predict=first)

    recorder = Recorder(NumpyEngine())
    bounds: list[bool] = []

    def allocate(batch: int, capacity: int, bound: bool, read: bool) -> HostCache:
        bounds.append(bound)
        return NumpyEngine().allocate(batch, capacity, bound, read)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "allocate", allocate)
        run(recorder, [request(system(decode))])
    assert bounds == [False, True]
