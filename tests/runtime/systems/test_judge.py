"""What a guide decides, over models that answer alike wherever they run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.arrays import IntArray
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.step import GUIDE, MAIN
from dllm_edge.runtime.decoding.token_map import TokenMap
from dllm_edge.runtime.engines.base import Lanes, StepOutputs
from dllm_edge.runtime.scheduler.rehearsal import rehearse
from dllm_edge.runtime.scheduler.request import Finished, Request
from dllm_edge.runtime.scheduler.scheduler import Scheduler
from dllm_edge.runtime.systems import find_system

from ..numpy_engine import CONFIG, END, ENDLESS, MASK, SHIFTED, VOCABULARY, NumpyEngine
from ..scripted import PROMPTS, request
from .test_oracles import assert_equal, both, decoded

SAME = TokenMap.identity(VOCABULARY)
CAUSAL = replace(ENDLESS, attention="causal", mask_token_id=None)


class Judge(NumpyEngine):
    """A guide that gives the draft of each row the probability `share`, and `second` the best place but one."""

    def __init__(self, share: float, rank: int = 0) -> None:
        super().__init__(replace(CAUSAL, mask_token_id=MASK), 7)
        self.share, self.rank = share, rank

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        outputs, given = super().run(profile, cache, bind, keep_rows), self.inputs(profile)
        drafts = given.target_ids[..., 0]
        outputs.topk_ids[:] = (drafts[..., None] + 1 + np.arange(outputs.topk_ids.shape[-1])) % VOCABULARY
        outputs.topk_ids[..., self.rank] = drafts
        outputs.topk_log_probs[:] = np.log(0.4)
        outputs.target_log_probs[..., 0] = np.log(self.share)
        return outputs


def run(canvas: Canvas, guide: NumpyEngine, tokens: TokenMap = SAME, seed: int = 0, **settings: Any) -> Finished:
    system = find_system("flashdlm")
    chosen = Settings(**{**system.defaults, "gen_length": 16, "block_length": 8, **settings})
    asked = Request(canvas, system, chosen, seed, trace=True, tokens_of_guide=tokens)
    events = Scheduler({MAIN: NumpyEngine(canvas.config), GUIDE: guide}).run([asked])
    (end,) = [one for one in events if isinstance(one, Finished)]
    return end


def canvas_of(prompt: list[int] = PROMPTS[0], config: Any = ENDLESS) -> Canvas:
    return Canvas.from_prompt(prompt, 16, config)


def sizes(end: Finished) -> list[int]:
    """How many tokens each commit wrote."""
    return [commit.positions.size for commit in end.request.canvas.commits]


def read(end: Finished) -> list[list[int]]:
    """What each forward of the guide was sent."""
    return [step.input_ids.tolist() for step in end.trace if step.model == GUIDE]


@both
def test_a_guide_that_accepts_everything_ends_it_at_once(config: Any) -> None:
    """By what one forward drafts, as a threshold of 0 commits it."""
    end = run(canvas_of(config=config), Judge(0.4))
    assert sizes(end) == [16]
    assert (
        end.request.canvas.tokens.tolist()
        == decoded("vanilla", config, unmask="threshold", threshold=0.0, block_length=0).canvas.tokens.tolist()
    )


@both
def test_a_guide_that_accepts_nothing_leaves_one_token_a_forward_from_left_to_right(config: Any) -> None:
    """With all of it in the window these are the tokens of vanilla decoding in blocks of one."""
    end = run(canvas_of(config=config), Judge(0.4, rank=3), window=64)
    assert sizes(end) == [1] * 16
    assert_equal(end.request, decoded("vanilla", config, block_length=1))


@pytest.mark.parametrize(
    ("accept", "settings", "share", "rank", "accepted"),
    [
        ("deterministic", {}, 0.4, 0, True),
        ("deterministic", {}, 0.4, 1, False),
        ("topk", {"accept_top_k": 3}, 0.01, 2, True),
        ("topk", {"accept_top_k": 3}, 0.01, 3, False),
        ("topk_relative", {"accept_top_k": 3}, 0.2, 2, True),
        ("topk_relative", {"accept_top_k": 3}, 0.2, 3, False),
        ("topk_relative", {"accept_top_k": 3}, 0.199, 2, False),
        ("topk_relative", {"accept_top_k": 3, "accept_ratio": 0.49}, 0.199, 2, True),
        ("dynamic_threshold", {}, 0.101, 9, True),
        ("dynamic_threshold", {}, 0.099, 0, False),
        ("dynamic_threshold", {"accept_threshold": 0.05}, 0.099, 0, True),
        ("original", {}, 1.0, 9, True),
        ("original", {}, 1e-9, 0, False),
    ],
)
def test_what_is_accepted(accept: str, settings: dict[str, Any], share: float, rank: int, accepted: bool) -> None:
    end = run(canvas_of(), Judge(share, rank), accept=accept, **settings)
    assert sizes(end) == ([16] if accepted else [1] * 16)


def test_chance_is_the_requests_own() -> None:
    runs = [sizes(run(canvas_of(), Judge(0.6), accept="original", seed=seed)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert 1 < len(runs[0]) < 16


@pytest.mark.parametrize(("verify", "rows"), [(32, [5 + 15]), (16, [5 + 15]), (6, [5 + 5, 6, 4]), (1, [5] + [1] * 15)])
def test_drafts_are_judged_in_chunks(verify: int, rows: list[int]) -> None:
    """Each reads the last token before it again, and no draft that nothing follows."""
    end = run(canvas_of(), Judge(0.4), verify=verify)
    assert [len(ids) for ids in read(end)] == rows
    assert [step.model for step in end.trace] == [MAIN] + [GUIDE] * len(rows)
    text = end.request.canvas.tokens.tolist()
    assert read(end)[0] == text[: rows[0]]
    assert read(end)[-1] == text[-1 - rows[-1] : -1]


def test_nothing_is_judged_after_a_rejection() -> None:
    class Once(Judge):
        """Accepts what is drafted for the first six positions, by where the row is."""

        def run(self, *arguments: Any, **options: Any) -> StepOutputs:
            outputs = super().run(*arguments, **options)
            given = self.inputs(arguments[0])
            late = np.take_along_axis(given.position_ids, given.logit_rows, 1) >= 5 + 6 - 1
            outputs.topk_ids[late, 0] = 0
            return outputs

    end = run(canvas_of(), Once(0.4), verify=4)
    assert sizes(end) == [6] + [1] * 10
    # From then on the last token but one, too, which the guide had read before it was known what followed.
    assert [len(ids) for ids in read(end)] == [5 + 3, 4, 4, *[2 + 3] * 6, 4, 3, 2]


@both
def test_given_tokens_are_read_and_stay(config: Any) -> None:
    """Infilling: what stands between masks is text for the guide, and needs no acceptance."""
    tokens = [1, 7, MASK, MASK, 9, 11, MASK, MASK, MASK, 2]
    for rank, counts in ((0, [5]), (3, [1] * 5)):
        end = run(Canvas(tokens, config), Judge(0.4, rank), gen_length=7, block_length=0)
        filled = end.request.canvas.tokens.tolist()
        assert [filled[index] for index in (0, 1, 4, 5, 9)] == [1, 7, 9, 11, 2]
        assert sizes(end) == counts
        assert read(end)[0] == filled[:8] or rank


def test_a_canvas_that_begins_with_a_mask_has_no_row_to_judge_by() -> None:
    end = run(Canvas([MASK, MASK, 7], ENDLESS), Judge(0.4), gen_length=2, block_length=0)
    assert [step.model for step in end.trace] == [MAIN, MAIN, GUIDE]
    assert sizes(end) == [1, 1]


def test_text_ends_at_its_end() -> None:
    """With `stop_at=block` what follows becomes end of text, too."""
    plain = run(canvas_of(), Judge(0.4, 3)).request.canvas.tokens.tolist()
    ending = replace(ENDLESS, eos_token_ids=(plain[9],))
    first = plain.index(plain[9], 5)
    end = run(canvas_of(config=ending), Judge(0.4, 3))
    assert (end.reason, sizes(end)) == ("stop", [1] * (first - 4))
    assert end.request.canvas.tokens.tolist() == plain[: first + 1] + [MASK] * (20 - first)
    filled = run(canvas_of(config=ending), Judge(0.4, 3), stop_at="block")
    assert filled.request.canvas.tokens.tolist() == plain[: first + 1] + [plain[9]] * (20 - first)
    whole = run(canvas_of(config=ending), Judge(0.4, 3), early_stop=False)
    assert whole.request.canvas.tokens.tolist() == plain


def shifted_map(several: dict[int, list[int]], without: IntArray | list[int]) -> TokenMap:
    """A guide whose ids are one higher."""
    single = (np.arange(VOCABULARY) + 1) % VOCABULARY
    single[[*several, *without]] = -1
    return TokenMap(single, several)


def test_a_guide_reads_its_own_vocabulary() -> None:
    end = run(canvas_of(), Judge(0.4), shifted_map({}, []))
    text = end.request.canvas.tokens
    assert read(end)[0] == ((text + 1) % VOCABULARY)[:-1].tolist()
    assert sizes(end) == [16]


def test_what_the_guide_writes_otherwise_it_never_accepts_but_reads() -> None:
    """A draft of two of its tokens, and one that it has none for, which it does not get to see at all."""
    drafts = run(canvas_of(), Judge(0.4)).request.canvas.tokens[5:].tolist()
    two, none = drafts[0], next(draft for draft in drafts if draft != drafts[0])
    end = run(canvas_of(), Judge(0.4), shifted_map({two: [38, 39]}, [none]))
    assert sizes(end)[0] == 1
    text = end.request.canvas.tokens.tolist()
    expected = [
        token for one in text for token in ([38, 39] if one == two else [] if one == none else [(one + 1) % VOCABULARY])
    ]
    assert read(end)[0] == expected[: len(read(end)[0])]
    assert len(sizes(end)) > 1


def test_a_cache_grows_with_what_takes_several_tokens() -> None:
    """All drafts are three tokens of the guide each: none is accepted, and all are read at the right places."""
    several = {token: [1, 2, 3] for token in range(VOCABULARY) if token not in PROMPTS[0]}
    first = run(canvas_of(), Judge(0.4)).request.canvas.tokens[5:].tolist()
    end = run(canvas_of(), Judge(0.4), shifted_map(several, []))
    assert end.reason == "complete"
    assert sizes(end)[0] == 1 or first[0] in PROMPTS[0]


def test_a_request_without_the_tokens_of_a_guide_fails() -> None:
    with pytest.raises(DllmEdgeError, match="needs a guide"):
        list(Scheduler(NumpyEngine()).run([request(find_system("flashdlm"))]))


@pytest.mark.parametrize("config", [CONFIG, SHIFTED])
def test_a_rehearsal_sees_every_step(config: Any) -> None:
    """A guide that accepts nothing: as many forwards of the decoded model as there are tokens."""
    system = find_system("flashdlm")
    settings = Settings(**{**system.defaults, "gen_length": 16, "block_length": 8, "window": 8})
    for accept in ("deterministic", "topk_relative", "dynamic_threshold", "original"):
        forwards = rehearse(config, (system, settings.replace(accept=accept)), 24).forwards
        assert len(forwards) == 16
        assert max(forward.profile.queries for forward in forwards[1:]) < 24 or config.logit_shift
    assert END in CONFIG.eos_token_ids
