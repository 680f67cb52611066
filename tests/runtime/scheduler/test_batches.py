from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.arrays import FloatArray
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.step import Saliency, Store
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.engines.sizes import AnySizes
from dllm_edge.runtime.scheduler import groups
from dllm_edge.runtime.scheduler.groups import PATIENCE
from dllm_edge.runtime.scheduler.request import Finished
from dllm_edge.runtime.scheduler.scheduler import Scheduler
from dllm_edge.runtime.systems import SYSTEMS
from dllm_edge.runtime.systems.base import Decoding

from ..numpy_engine import CONFIG, SHIFTED, NumpyEngine
from ..recorder import Launch, Recorder, finish
from ..scripted import PROMPTS, fill, request, scripted, windows

RULES = ({"unmask": "quota"}, {"unmask": "threshold", "threshold": 0.4}, {"unmask": "factor", "temperature": 0.7})


def kinds(launches: list[Launch]) -> str:
    """R: a refresh, b: a step over a cache, f: one without."""
    return "".join("R" if launch.bind else "b" if launch.cache else "f" for launch in launches)


@pytest.mark.parametrize("config", [CONFIG, SHIFTED], ids=["plain", "shifted"])
@pytest.mark.parametrize("settings", RULES, ids=lambda rule: str(rule["unmask"]))
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_batch_changes_no_token(system: str, settings: dict[str, Any], config: ModelConfig) -> None:
    """Three prompts of different lengths, each with its own seed: tokens, forwards and confidences as alone."""
    together = [request(system, prompt, config, seed, **settings) for seed, prompt in enumerate(PROMPTS)]
    alone = [request(system, prompt, config, seed, **settings) for seed, prompt in enumerate(PROMPTS)]
    ends = finish(NumpyEngine(config), together)
    for mine, end, other in zip(together, ends, alone, strict=True):
        (own,) = finish(NumpyEngine(config), [other])
        assert mine.canvas.tokens.tolist() == other.canvas.tokens.tolist()
        assert (end.forwards, end.refresh_forwards, end.reason) == (own.forwards, own.refresh_forwards, own.reason)
        for here, there in zip(mine.canvas.commits, other.canvas.commits, strict=True):
            assert here.positions.tolist() == there.positions.tolist()
            np.testing.assert_allclose(here.confidences, there.confidences, rtol=1e-5)
    assert max(step.batch for step in ends[0].trace) == 3


def test_refreshes_of_neighbours_run_together_into_their_own_lanes_and_so_do_steps() -> None:
    engine = Recorder(NumpyEngine())
    finish(engine, [request("fast-dllm-dual", prompt, block_length=4) for prompt in PROMPTS])
    assert engine.allocated == [(3, 24)]
    assert kinds(engine.launches) == ("R" + "bbb") * 4
    for launch in engine.launches:
        if launch.bind:
            assert (launch.profile.batch, launch.profile.queries, launch.profile.capacity) == (3, 24, 0)
            assert launch.bind == (0, 3, 24)
        else:
            assert (launch.profile.batch, launch.profile.queries, launch.profile.capacity) == (3, 4, 24)
            assert launch.cache == (0, 3, 24)


def test_refreshes_of_an_engine_that_has_no_wider_ones_run_one_by_one() -> None:
    """An engine of fixed sizes writes every row of a batch: rows of nobody would be written to somebody's lane."""

    class Narrow(AnySizes):
        def profile(self, wanted: Profile) -> Profile:
            return replace(wanted, batch=4) if not wanted.capacity and wanted.batch in (2, 3) else wanted

    engine = NumpyEngine()
    engine.sizes = Narrow()
    recorder = Recorder(engine)
    finish(recorder, [request("fast-dllm-dual", prompt, block_length=4) for prompt in PROMPTS])
    assert kinds(recorder.launches) == ("RRR" + "bbb") * 4
    assert [launch.bind[0] for launch in recorder.launches[:3] if launch.bind] == [0, 1, 2]


def test_long_refreshes_do_not_run_together() -> None:
    """Of 24 slots two at a time are 48 rows: with room for 60 the third runs alone."""
    engine = Recorder(NumpyEngine())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "LARGEST_REFRESH", 60)
        finish(engine, [request("fast-dllm-dual", prompt) for prompt in PROMPTS])
    assert [launch.bind for launch in engine.launches if launch.bind][:2] == [(0, 2, 24), (2, 1, 24)]


def test_a_refresh_much_narrower_than_the_cache_runs_at_its_own_width() -> None:
    """Its rows are copied into the lane, and what follows sees the same as after one that was written there."""

    def decode(canvas: Canvas) -> Decoding:
        block = Block(canvas.start, canvas.start + 4)
        window = np.concatenate((np.arange(canvas.start + 4), [len(canvas) - 1]))
        yield canvas.refresh(window, predict=block)
        fill(canvas, (yield canvas.step(block, visible=np.arange(window.size) < canvas.start)))

    wide, narrow = ([request(scripted(decode, capacity=size), prompt) for prompt in PROMPTS] for size in (13, 40))
    exact, wasteful = Recorder(NumpyEngine()), Recorder(NumpyEngine())
    finish(exact, wide)
    finish(wasteful, narrow)
    assert (kinds(exact.launches), exact.operations) == ("fRRb", ["store"])
    assert (kinds(wasteful.launches), wasteful.operations) == ("fffb", ["store"] * 3)
    assert [launch.profile.queries for launch in wasteful.launches] == [10, 8, 13, 4]
    for first, second in zip(wide, narrow, strict=True):
        assert first.canvas.tokens.tolist() == second.canvas.tokens.tolist()
        np.testing.assert_allclose(first.canvas.commits[0].confidences, second.canvas.commits[0].confidences, rtol=1e-5)


def test_a_refresh_waits_for_no_one() -> None:
    """Sequences that are out of step: in each tick the refreshes first, then one step over the others' lanes."""
    engine = Recorder(NumpyEngine())
    asked = [request("fast-dllm-dual", prompt, block_length=length) for prompt, length in zip(PROMPTS, (4, 8, 4), strict=True)]
    finish(engine, asked)
    assert kinds(engine.launches)[:8] == "RbbbRRbb"
    blocks = [launch for launch in engine.launches if launch.cache]
    assert {launch.cache for launch in blocks if launch.profile.queries == 4} == {(0, 3, 24)}
    # The one between them has lane 1 until the others end, and lane 0 then.
    assert {launch.cache for launch in blocks if launch.profile.queries == 8} == {(1, 1, 24), (0, 1, 24)}
    # The lane between the two has its row of the step, on padding.
    assert all(not launch.input_ids[1].any() for launch in blocks if launch.profile.queries == 4)


def test_lanes_that_an_engine_adds_are_the_caches_own() -> None:
    """An engine that runs two lanes at least: the last lane's steps take the one before it along, not one past the end."""

    class Pairs(AnySizes):
        def profile(self, wanted: Profile) -> Profile:
            return replace(wanted, batch=max(2, wanted.batch)) if wanted.capacity else wanted

        def cache(self, batch: int, capacity: int, bound: bool, read: bool) -> tuple[int, int]:
            return max(2, batch), capacity

    engine = NumpyEngine()
    engine.sizes = Pairs()
    recorder = Recorder(engine)
    pairs = list(zip(PROMPTS, (4, 4, 8), strict=True))
    asked = [request("fast-dllm-dual", prompt, block_length=length) for prompt, length in pairs]
    finish(recorder, asked)
    eights = [launch for launch in recorder.launches if launch.cache and launch.profile.queries == 8]
    assert (1, 2, 24) in {launch.cache for launch in eights}
    # Its row is the second there, and the first, of a lane that wants no such step, is padding.
    assert all(launch.input_ids[1].any() and not launch.input_ids[0].any() for launch in eights if launch.cache == (1, 2, 24))
    for mine, (prompt, length) in zip(asked, pairs, strict=True):
        alone = request("fast-dllm-dual", prompt, block_length=length)
        finish(NumpyEngine(), [alone])
        assert mine.canvas.tokens.tolist() == alone.canvas.tokens.tolist()


def test_who_has_ended_leaves_no_gap() -> None:
    """The middle lane ends: the last takes its place, steps have two rows then, and the others' tokens do not change."""
    engine = Recorder(NumpyEngine())
    pairs = list(zip(PROMPTS, (16, 12, 16), strict=True))
    asked = [request("fast-dllm-dual", prompt, gen_length=length, block_length=4) for prompt, length in pairs]
    finish(engine, asked)
    blocks = [launch.cache for launch in engine.launches if launch.cache]
    assert blocks == [(0, 3, 24)] * 9 + [(0, 2, 24)] * 3
    assert engine.operations.count("copy") == 1
    for mine, (prompt, length) in zip(asked, pairs, strict=True):
        alone = request("fast-dllm-dual", prompt, gen_length=length, block_length=4)
        finish(NumpyEngine(), [alone])
        assert mine.canvas.tokens.tolist() == alone.canvas.tokens.tolist()


def test_the_largest_group_goes_first() -> None:
    engine = Recorder(NumpyEngine())
    finish(engine, [request(scripted(windows(rows), str(rows)), max_steps=2) for rows in (1, 2, 2, 3, 3, 3)])
    assert [launch.profile.queries for launch in engine.launches] == [3, 3, 2, 2, 1, 1]
    assert [launch.profile.batch for launch in engine.launches] == [3, 3, 2, 2, 1, 1]


@pytest.mark.parametrize("groups", [2, 5, 6, 9])
def test_no_group_starves(groups: int) -> None:
    """Group g has g sequences of steps with g rows: the smallest waits no longer than PATIENCE and a turn of each other."""
    engine = Recorder(NumpyEngine())
    asked = [
        request(scripted(windows(size), str(size)), gen_length=30, block_length=0, max_steps=12)
        for size in range(1, groups + 1)
        for _ in range(size)
    ]
    finish(engine, asked, max_batch=len(asked))
    turns = [launch.profile.queries for launch in engine.launches]
    assert Counter(turns) == dict.fromkeys(range(1, groups + 1), 12)
    for size in range(1, groups + 1):
        places = [-1, *(index for index, rows in enumerate(turns) if rows == size)]
        assert max(np.diff(places)) <= PATIENCE + groups


def test_more_requests_than_room() -> None:
    engine, prompts = Recorder(NumpyEngine()), [*PROMPTS, *PROMPTS]
    asked = [request("fast-dllm-dual", prompt, unmask="quota") for prompt in prompts]
    ends = [event.request for event in Scheduler(engine, max_batch=2).run(asked) if isinstance(event, Finished)]
    assert engine.allocated == [(2, 24)]
    assert max(launch.profile.batch for launch in engine.launches) == 2
    assert {id(each) for each in ends} == {id(each) for each in asked}
    assert ends[:2] == asked[:2]
    for first, again in zip(asked[:3], asked[3:], strict=True):
        assert first.canvas.tokens.tolist() == again.canvas.tokens.tolist()


def test_different_systems_in_one_run() -> None:
    engine = Recorder(NumpyEngine())
    pairs = [(system, prompt) for system in SYSTEMS for prompt in PROMPTS]
    asked = [request(system, prompt) for system, prompt in pairs]
    finish(engine, asked, max_batch=len(asked))
    full: Counter[int] = Counter()
    for mine, (system, prompt) in zip(asked, pairs, strict=True):
        alone, recorder = request(system, prompt), Recorder(NumpyEngine())
        finish(recorder, [alone])
        assert mine.canvas.tokens.tolist() == alone.canvas.tokens.tolist()
        first = recorder.launches[0]
        full[first.profile.rows] += first.cache is None and first.bind is None
    # Full passes of one size run together, whatever their systems: vanilla's and the first of sparse-dllm, say.
    whole = [launch.profile for launch in engine.launches if launch.cache is None and launch.bind is None]
    assert max(profile.batch for profile in whole if profile.rows == 8) == full[8] >= 6
    # With a shadow they are longer and predict twice as much; KLASS and d3LLM predict both blocks.
    assert max(profile.batch for profile in whole if profile.rows == 16) >= full[16] == 9


def test_cache_bytes() -> None:
    engine = NumpyEngine()
    slot = engine.allocate(1, 1).nbytes
    expected = {
        "vanilla": (0, 0),
        "fast-dllm-prefix": (3 * 24 * slot, 3 * 24 * slot),
        "fast-dllm-dual": (3 * 24 * slot, 3 * 24 * slot),
        # Half of what is outside the block of the longest, and while one is refreshed, all of it.
        "sparse-dllm": (3 * 8 * slot, (3 * 8 + 24) * slot),
    }
    for system, (steady, peak) in expected.items():
        scheduler = Scheduler(engine)
        list(scheduler.run([request(system, prompt) for prompt in PROMPTS]))
        assert (scheduler.steady_cache_bytes, scheduler.peak_cache_bytes) == (steady, peak)


def test_rows_are_stored_from_a_sequences_own_row_into_its_own_lane() -> None:
    """Each sequence builds its cache by storing rows of batched steps, and must see exactly what it would without one."""

    def cached(canvas: Canvas) -> Decoding:
        visible = np.zeros(len(canvas), dtype=np.bool_)
        for position in range(len(canvas)):
            block = Block(position, position + 1)
            result = yield canvas.step(block, visible=visible.copy(), keep_rows=True)
            yield Store(np.array([position]), np.array([0]))
            visible[position] = True
            if position >= canvas.start:
                fill(canvas, result)

    def uncached(canvas: Canvas) -> Decoding:
        """The same attention without a cache: causal, over the tokens as they were when they were stored."""
        tokens = canvas.tokens.copy()
        for position in range(len(canvas)):
            step = canvas.step(canvas.whole, predict=Block(position, position + 1))
            hidden = np.tri(len(canvas), dtype=np.bool_)
            result = yield replace(step, input_ids=tokens, own_mask=hidden)
            if position >= canvas.start:
                fill(canvas, result)

    engine = Recorder(NumpyEngine())
    asked = [request(scripted(cached, capacity=24), prompt) for prompt in PROMPTS]
    finish(engine, asked)
    assert engine.operations.count("store") == sum(len(each.canvas) for each in asked)
    assert max(launch.profile.batch for launch in engine.launches) == 3
    for mine, prompt in zip(asked, PROMPTS, strict=True):
        alone = request(scripted(uncached), prompt)
        finish(NumpyEngine(), [alone])
        assert mine.canvas.tokens.tolist() == alone.canvas.tokens.tolist()


def test_saliency_is_of_a_sequences_own_row_and_lane() -> None:
    """For a batched step as for a refresh."""
    found: dict[int, FloatArray] = {}

    def decode(canvas: Canvas) -> Decoding:
        block = Block(canvas.start, canvas.start + 4)
        yield canvas.refresh(predict=block)
        step = canvas.step(block, visible=canvas.outside(block))
        yield replace(step, saliency_weights=np.full(4, 0.25, dtype=np.float32))
        found[canvas.start] = (yield Saliency())[:, : len(canvas)]

    engine = Recorder(NumpyEngine())
    finish(engine, [request(scripted(decode, capacity=24), prompt) for prompt in PROMPTS])
    assert kinds(engine.launches) == "Rb"
    together = dict(found)
    for prompt in PROMPTS:
        finish(NumpyEngine(), [request(scripted(decode, capacity=len(prompt) + 16), prompt)])
        np.testing.assert_allclose(together[len(prompt)], found[len(prompt)], rtol=1e-4)
