from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.arrays import FloatArray, IntArray
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.changes import Commit
from dllm_edge.runtime.decoding.step import Saliency, Select, StepResult, Store
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.engines.base import Lanes, StepOutputs
from dllm_edge.runtime.scheduler.request import Changed, Finished, Request
from dllm_edge.runtime.scheduler.scheduler import Scheduler
from dllm_edge.runtime.systems import SYSTEMS
from dllm_edge.runtime.systems.base import Decoding

from ..numpy_engine import CONFIG, ENDLESS, MASK, NumpyEngine
from ..recorder import Recorder, commits, finish
from ..scripted import PROMPTS, fill, request, scripted


@pytest.mark.parametrize("system", SYSTEMS)
def test_events_tell_the_whole_decode(system: str) -> None:
    asked = request(system, unmask="threshold", threshold=0.5)
    tokens = asked.canvas.tokens.copy()
    *commits, end = Scheduler(NumpyEngine()).run([asked])
    for event in commits:
        assert isinstance(event, Changed)
        assert isinstance(event.change, Commit)
        assert (tokens[event.change.positions] == MASK).all()
        tokens[event.change.positions] = event.change.ids
    assert isinstance(end, Finished)
    assert tokens.tolist() == asked.canvas.tokens.tolist()
    assert MASK not in tokens
    forwards = [event.forward for event in commits if isinstance(event, Changed)]
    assert forwards == sorted(forwards)
    assert (len(set(forwards)) < len(forwards)) == (system in ("ssd", "lopa", "d3llm")), "those that decide more than once"
    assert (end.request, end.reason, forwards[-1]) == (asked, "complete", end.forwards)


@pytest.mark.parametrize("system", SYSTEMS)
def test_counters_are_the_engines_launches(system: str) -> None:
    """Counted from what the engine was asked for."""
    engine = Recorder(NumpyEngine())
    (end,) = finish(engine, [request(system)])
    assert end.forwards == len(engine.launches) == len(end.trace)
    assert end.refresh_forwards == sum(launch.bind is not None for launch in engine.launches)
    assert end.rows_sent == sum(launch.profile.queries for launch in engine.launches)
    assert (system in ("vanilla", "saber", "klass", "conv", "wino")) == (end.refresh_forwards == 0)
    assert 0 < end.engine_seconds < end.seconds


@pytest.mark.parametrize("system", SYSTEMS)
def test_rows_are_counted_without_padding(system: str) -> None:
    """Of a sequence the same beside longer ones, whose width its steps and refreshes are padded to."""
    engine = Recorder(NumpyEngine())
    alone = [finish(NumpyEngine(), [request(system, prompt)])[0].rows_sent for prompt in PROMPTS]
    together = [end.rows_sent for end in finish(engine, [request(system, prompt) for prompt in PROMPTS])]
    assert together == alone
    assert sum(launch.profile.batch * launch.profile.queries for launch in engine.launches) >= sum(alone)


def test_a_batchs_seconds_are_shared() -> None:
    started = time.perf_counter()
    ends = finish(NumpyEngine(), [request("vanilla", PROMPTS[0]) for _ in range(8)])
    elapsed = time.perf_counter() - started
    assert sum(end.engine_seconds for end in ends) < elapsed
    assert all(end.seconds < elapsed for end in ends)


def test_nothing_is_traced_unless_it_is_asked_for() -> None:
    asked = request("vanilla")
    (end,) = finish(NumpyEngine(), [Request(asked.canvas, asked.system, asked.settings)])
    assert (end.forwards > 0, end.trace) == (True, [])


def test_engine_seconds_are_those_of_steps_and_cache_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only the engine moves; half of each step is the other sequence's."""

    class Timed(Recorder):
        def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
            clock[0] += 1
            return super().run(profile, cache, bind, keep_rows)

        def store(self, cache: Lanes, slots: IntArray, row: int, rows: IntArray) -> None:
            clock[0] += 10
            super().store(cache, slots, row, rows)

        def saliency(self, cache: Lanes, queries: FloatArray) -> FloatArray:
            clock[0] += 100
            return super().saliency(cache, queries)

        def select(self, source: Lanes, keep: IntArray, target: Lanes) -> None:
            clock[0] += 1000
            super().select(source, keep, target)

    def decode(canvas: Canvas) -> Decoding:
        block = Block(canvas.start, canvas.start + 4)
        step = canvas.step(block, visible=canvas.outside(block), keep_rows=True)
        yield replace(canvas.refresh(predict=block, evicts=True), saliency_weights=np.ones(len(canvas), dtype=np.float32))
        slots = np.argsort((yield Saliency()), axis=1)[:, :12]
        yield Select(slots)
        fill(canvas, (yield replace(step, visible=np.ones(12, dtype=np.bool_))))
        yield Store(np.arange(4), np.arange(4))

    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    ends = finish(Timed(NumpyEngine()), [request(scripted(decode, capacity=12)) for _ in range(2)])
    assert [end.engine_seconds for end in ends] == [1 + 100 + 1000 + 0.5 + 10] * 2


def test_why_a_request_ended() -> None:
    asked = [
        request("vanilla", config=config, max_steps=limit) for config, limit in ((ENDLESS, 0), (ENDLESS, 16), (ENDLESS, 15))
    ]
    assert [end.reason for end in finish(NumpyEngine(), asked)] == ["complete", "complete", "step_limit"]
    assert (asked[2].canvas.tokens == MASK).sum() == 1
    first = asked[0].canvas.commits[0].ids
    stopping = replace(CONFIG, eos_token_ids=tuple(asked[0].canvas.tokens[5:7].tolist()))
    for early_stop in (True, False):
        (end,) = finish(NumpyEngine(), [request("vanilla", config=stopping, early_stop=early_stop)])
        assert end.reason == "stop"
        assert (end.forwards < 16) == early_stop
    assert first.size == 1


def test_cancelled_before_it_began() -> None:
    engine, asked = Recorder(NumpyEngine()), request("fast-dllm-dual")
    asked.cancel()
    (end,) = finish(engine, [asked])
    assert (end.reason, end.forwards, engine.launches) == ("cancelled", 0, [])


@pytest.mark.parametrize("system", SYSTEMS)
def test_cancelled_on_the_way_while_others_go_on(system: str) -> None:
    asked = [request(system, prompt) for prompt in PROMPTS]
    alone = request(system, PROMPTS[0])
    finish(NumpyEngine(), [alone])
    ends = {}
    for event in Scheduler(NumpyEngine()).run(asked):
        if isinstance(event, Changed) and event.request is asked[1] and event.forward == 4:
            event.request.cancel()
        if isinstance(event, Finished):
            ends[id(event.request)] = event
    assert [ends[id(each)].reason for each in asked] == ["complete", "cancelled", "complete"]
    assert ends[id(asked[1])].forwards == 4
    assert (asked[1].canvas.tokens == MASK).any()
    assert asked[0].canvas.tokens.tolist() == alone.canvas.tokens.tolist()


def test_closing_the_iterator_ends_every_coroutine() -> None:
    closed: list[int] = []

    def decode(canvas: Canvas) -> Decoding:
        try:
            for position in range(canvas.start, canvas.stop):
                fill(canvas, (yield canvas.step(canvas.whole, predict=Block(position, position + 1))))
        finally:
            closed.append(len(canvas))

    coroutines: list[Decoding] = []

    def remembered(canvas: Canvas) -> Decoding:
        """Held here, so that it is not closed for want of a holder."""
        coroutines.append(decode(canvas))
        return coroutines[-1]

    engine = Recorder(NumpyEngine())
    events = Scheduler(engine).run([request(scripted(remembered), prompt) for prompt in PROMPTS])
    next(events)
    assert closed == []
    events.close()
    assert sorted(closed) == sorted(len(prompt) + 16 for prompt in PROMPTS)
    assert len(engine.launches) == 1

    closed.clear()
    finish(NumpyEngine(), [request(scripted(remembered), prompt, max_steps=3) for prompt in PROMPTS])
    assert len(closed) == 3, "those that come to a limit are closed, too"


def test_an_engine_that_fails_leaves_no_coroutine_open() -> None:
    closed: list[str] = []

    def decode(canvas: Canvas) -> Decoding:
        try:
            yield canvas.step(canvas.whole, predict=Block(canvas.start, canvas.stop))
        finally:
            closed.append("closed")

    class Failing(NumpyEngine):
        def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
            raise MemoryError

    with pytest.raises(MemoryError):
        list(Scheduler(Failing()).run([request(scripted(decode))]))
    assert closed == ["closed"]


def test_a_trace_is_what_was_sent_and_what_came_back() -> None:
    seen: list[StepResult] = []

    def decode(canvas: Canvas) -> Decoding:
        block = Block(canvas.start, canvas.start + 3)
        seen.append((yield canvas.refresh(predict=block)))
        fill(canvas, seen[0])
        seen.append((yield canvas.step(block, visible=canvas.outside(block))))
        seen.append((yield canvas.step(canvas.whole, predict=block)))
        fill(canvas, seen[2])
        fill(canvas, seen[2])

    asked = request(scripted(decode, capacity=21))
    (end,) = finish(NumpyEngine(), [asked])
    assert [step.kind for step in end.trace] == ["refresh", "block", "full"]
    assert [len(step.commits) for step in end.trace] == [1, 0, 2]
    assert [commit for step in end.trace for commit in step.commits] == asked.canvas.commits
    for number, (step, result) in enumerate(zip(end.trace, seen, strict=True), 1):
        assert (step.forward, step.batch) == (number, 1)
        assert step.positions.tolist() == result.step.position_ids.tolist()
        assert step.input_ids.tolist() == result.step.input_ids.tolist()
        assert step.predicts.tolist() == [5, 6, 7]
        assert step.best_ids.tolist() == result.topk_ids[:, 0].tolist()
        np.testing.assert_allclose(step.probabilities, np.exp(result.topk_log_probs[:, 0]))
        np.testing.assert_allclose(step.margins, result.topk_log_probs[:, 0] - result.topk_log_probs[:, 1])
        assert step.engine_seconds > 0
    assert end.engine_seconds == pytest.approx(sum(step.engine_seconds for step in end.trace))


def test_a_trace_as_json() -> None:
    (end,) = finish(NumpyEngine(), [request("fast-dllm-dual", unmask="threshold", threshold=0.4)])
    written = [json.loads(json.dumps(step.to_json())) for step in end.trace]
    assert sum(len(commit["positions"]) for step in written for commit in step["committed"]) == 16
    for step, record in zip(end.trace, written, strict=True):
        assert (record["forward"], record["kind"], record["batch"]) == (step.forward, step.kind, step.batch)
        assert record["positions"] == step.positions.tolist()
        assert len(record["input_ids"]) == len(record["positions"])
        assert len(record["best_ids"]) == len(record["probabilities"]) == len(record["predicts"])


def test_no_trace_where_none_is_asked_for() -> None:
    asked = request("vanilla")
    asked.trace = False
    assert finish(NumpyEngine(), [asked])[0].trace == []


def test_decodes_on_one_engine_may_take_turns() -> None:
    """Whoever takes an event may run something else before the next: an engine's buffers are not the events' own."""
    engine = NumpyEngine()
    alone = [request("fast-dllm-dual", prompt) for prompt in PROMPTS]
    finish(engine, alone)
    asked = [request("fast-dllm-dual", prompt) for prompt in PROMPTS]
    for event in Scheduler(engine).run(asked):
        if isinstance(event, Changed) and event.forward == 3:
            finish(engine, [request("fast-dllm-dual", prompt[::-1]) for prompt in PROMPTS])
    assert [each.canvas.tokens.tolist() for each in asked] == [each.canvas.tokens.tolist() for each in alone]


@pytest.mark.parametrize("max_batch", [0, -1])
def test_a_batch_has_room_for_one(max_batch: int) -> None:
    with pytest.raises(DllmEdgeError, match="max_batch"):
        Scheduler(NumpyEngine(), max_batch)


def test_no_requests() -> None:
    assert list(Scheduler(NumpyEngine()).run([])) == []


def test_the_same_seed_gives_the_same_tokens_and_another_gives_others() -> None:
    engine = NumpyEngine()
    asked = [request("vanilla", seed=seed, temperature=1.0) for seed in (3, 3, 4)]
    results = [[commit.ids.tolist() for commit in commits(engine, each)] for each in asked]
    assert results[0] == results[1] != results[2]
