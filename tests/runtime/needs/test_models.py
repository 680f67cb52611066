"""Steps that name their model: drafts of the decoded one, judged left to right by a causal guide with its own cache."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.step import GUIDE, MAIN, Reserve, Store
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.engines.base import Lanes, StepOutputs
from dllm_edge.runtime.scheduler.request import Finished
from dllm_edge.runtime.scheduler.scheduler import Scheduler
from dllm_edge.runtime.systems.base import Decoding
from dllm_edge.runtime.unmasking.unmasking import Unmasking

from ..numpy_engine import ENDLESS, MASK, NumpyEngine
from ..scripted import PROMPTS, request
from ..systems.step_equality import assert_same
from .runs import Engines, decoded, system, tokens

JUDGE = replace(ENDLESS, attention="causal", layers=2, heads=2, kv_heads=1, head_dim=4, hidden_size=8, mask_token_id=MASK)
# Keys and values go through float32 caches, all else is float64.
TOLERANCE = 1e-4


class Echo(NumpyEngine):
    """A guide whose candidate after each row is the token that it was sent there, or that and `more`."""

    def __init__(self, more: int = 0) -> None:
        super().__init__(JUDGE, 7)
        self.more = more

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        outputs, inputs = super().run(profile, cache, bind, keep_rows), self.inputs(profile)
        after = np.minimum(inputs.logit_rows + 1, profile.queries - 1)
        outputs.topk_ids[..., 0] = np.take_along_axis(inputs.input_ids, after, 1) + self.more
        return outputs


def guided(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    """FlashDLM: as many drafts as the guide's greedy choice agrees with, at least one, left to right."""
    length, cached = len(canvas), 0
    yield Reserve(length, bound=False, model=GUIDE)
    while (masks := canvas.masked(canvas.whole)).size:
        first, left = int(masks[0]), Block(int(masks[0]), length)
        drafts = yield canvas.step(canvas.whole, predict=left)
        ids = np.concatenate((canvas.tokens[:first], drafts.topk_ids[:, 0]))
        judged = yield canvas.step(
            Block(cached, length),
            predict=left,
            input_ids=ids[cached:],
            logit_rows=np.arange(first - 1, length - 1) - cached,
            own_mask=np.tri(length - cached, dtype=np.bool_),
            visible=np.arange(length) < cached,
            keep_rows=True,
            model=GUIDE,
        )
        agrees = judged.topk_ids[:, 0] == ids[first:]
        count = max(1, int(np.logical_and.accumulate(agrees).sum()))
        # One row before the first mask is sent again: it judges the next draft.
        known = np.arange(cached, first + count - 1)
        yield Store(known, known - cached, model=GUIDE)
        exact = yield canvas.step(
            canvas.whole,
            predict=left,
            input_ids=ids,
            logit_rows=np.arange(first - 1, length - 1),
            own_mask=np.tri(length, dtype=np.bool_),
            model=GUIDE,
        )
        assert assert_same(judged, exact, TOLERANCE) == length - first
        cached = first + count - 1
        at = np.arange(first, first + count)
        canvas.commit(at, ids[at], np.exp(drafts.topk_log_probs[:count, 0]))


def with_guide(guide: NumpyEngine) -> Engines:
    return {MAIN: NumpyEngine(), GUIDE: guide}


def test_a_guide_that_agrees_accepts_all_at_once() -> None:
    """The tokens are the drafts of one forward; three in all, with the one that the guide is checked by."""
    runs = decoded(guided, engines=with_guide(Echo()))
    assert [end.forwards for _, end in runs] == [3] * 3
    assert tokens(runs) == tokens(decoded("vanilla", unmask="threshold", threshold=0.0, block_length=0))
    assert [step.model for step in runs[0][1].trace] == ["main", "guide", "guide"]


def test_a_guide_that_disagrees_commits_one_draft_at_a_time() -> None:
    """The decoded model's own, from left to right."""
    runs = decoded(guided, engines=with_guide(Echo(more=1)))
    assert [end.forwards for _, end in runs] == [3 * 16] * 3
    assert tokens(runs) == tokens(decoded("vanilla", block_length=1))


def test_a_guide_of_other_sizes_judges_over_its_own_cache() -> None:
    """Each of its answers equals a fresh causal pass (in the coroutine)."""
    for each, end in decoded(guided, engines=with_guide(NumpyEngine(JUDGE, 7))):
        assert MASK not in each.canvas.tokens
        assert any(step.kind == "block" and step.positions[0] > 0 for step in end.trace)


def test_a_request_without_its_guide_fails_alone() -> None:
    """With one clear error; whoever decodes beside it goes on."""
    scheduler = Scheduler(NumpyEngine())
    lonely, other = request(system(guided)), request("fast-dllm-dual")
    for each in (lonely, other):
        scheduler.add(each)
    ends = {}
    while not scheduler.is_finished:
        ends.update({id(event.request): event for event in scheduler.step() if isinstance(event, Finished)})
    assert (ends[id(lonely)].reason, ends[id(other)].reason) == ("failed", "complete")
    with pytest.raises(DllmEdgeError, match="asks for a model 'guide'"):
        list(Scheduler(NumpyEngine()).run([request(system(guided))]))


def test_a_guides_lane_is_free_when_its_request_is_cancelled() -> None:
    scheduler = Scheduler(with_guide(Echo(more=1)))
    asked = [request(system(guided), prompt) for prompt in PROMPTS]
    for each in asked:
        scheduler.add(each)
    for _ in range(4):
        scheduler.step()
    (shelf,) = scheduler.pools[GUIDE].shelves
    assert (len(shelf.lanes), scheduler.pools[MAIN].nbytes) == (3, 0)
    asked[1].cancel()
    scheduler.step()
    (shelf,) = scheduler.pools[GUIDE].shelves
    assert [lane.index for lane in shelf.lanes] == [0, 1]
    while not scheduler.is_finished:
        scheduler.step()
    assert scheduler.pools[GUIDE].nbytes == 0
    alone = decoded("vanilla", block_length=1)
    assert [asked[index].canvas.tokens.tolist() for index in (0, 2)] == [tokens(alone)[index] for index in (0, 2)]


def test_rows_of_another_model_are_not_stored() -> None:
    """Nor those of a forward before the last: neither is there any more."""

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        for model in (MAIN, GUIDE):
            yield Reserve(len(canvas), model=model)
        yield canvas.step(canvas.whole, predict=canvas.whole, keep_rows=True)
        yield canvas.step(canvas.whole, predict=canvas.whole, keep_rows=True, model=GUIDE)
        yield Store(np.arange(4), np.arange(4))

    with pytest.raises(AssertionError, match="rows of the last forward"):
        list(Scheduler(with_guide(Echo())).run([request(system(decode))]))
