"""Blocks in flight: what is sent and kept when, which tokens are forced, and what it equals with one block at a time."""

from __future__ import annotations

from typing import Any

import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.scheduler.request import Request
from dllm_edge.runtime.systems.d3llm import end_text

from ..numpy_engine import CONFIG, END, ENDLESS, MASK, SHIFTED, NumpyEngine
from ..recorder import Recorder, finish
from ..scripted import request

both = pytest.mark.parametrize("config", [ENDLESS, SHIFTED], ids=["plain", "shifted"])
ONE: dict[str, Any] = {"unmask": "entropy-threshold", "entropy_threshold": -1.0}
ALONE: dict[str, Any] = {"block_add_threshold": 1.0}
NEVER = 1000


def decoded(config: ModelConfig = ENDLESS, system: str = "d3llm", **settings: Any) -> tuple[Request, list[list[int]], Recorder]:
    """A finished request, the positions that each forward committed, and what the engine was asked for."""
    engine = Recorder(NumpyEngine(config))
    asked = request(system, config=config, **{"early_stop": False, **settings})
    (end,) = finish(engine, [asked])
    return asked, [[int(p) for commit in step.commits for p in commit.positions] for step in end.trace], engine


@both
@pytest.mark.parametrize("most", [-1.0, 1.5, 2.5])
def test_one_block_at_a_time_without_a_cache_is_the_rule_alone(most: float, config: ModelConfig) -> None:
    rule: dict[str, Any] = {"unmask": "entropy-threshold", "entropy_threshold": most}
    plain, steps, _ = decoded(config, "vanilla", **rule)
    asked, own, _ = decoded(config, cache_delay=NEVER, **ALONE, **rule)
    assert asked.canvas.tokens.tolist() == plain.canvas.tokens.tolist()
    assert own == steps


@both
def test_a_cache_that_is_never_filled_is_none_and_one_that_is_filled_is_another_decode(config: ModelConfig) -> None:
    rule: dict[str, Any] = {"unmask": "entropy-threshold", "entropy_threshold": 2.0}
    without, _, engine = decoded(config, cache_delay=NEVER, **rule)
    assert engine.allocated == []
    assert {len(launch.position_ids[0]) for launch in engine.launches} == {21}
    late, _, _ = decoded(config, cache_delay=15, **rule)
    early, _, _ = decoded(config, cache_delay=0, **rule)
    assert late.canvas.tokens.tolist() == without.canvas.tokens.tolist() != early.canvas.tokens.tolist()


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ({"cache_delay": 2, "refresh": 3}, "wRRbbRbb RRsRbbRb"),
        ({"cache_delay": 2}, "wRbbbbbb RRsbbbbb"),
        ({"cache_delay": 0}, "Rbbbbbbb sbbbbbbb"),
        ({"cache_delay": 1, "refresh": 1}, "RRRRRRRR RsRRRRRR"),
        ({"cache_delay": 16}, "wwwwwwww wwwwwwww"),
    ],
)
def test_when_it_is_kept_and_renewed(settings: dict[str, Any], kinds: str) -> None:
    """By hand, one token a forward: the prompt is complete before the first, the first block is seen so by the ninth. `s` is
    a step that is stored."""
    _, _, engine = decoded(**ONE, **ALONE, **settings)
    letters = ["R" if launch.bind else "s" if launch.keep_rows else "b" if launch.cache else "w" for launch in engine.launches]
    assert "".join(letters) == kinds.replace(" ", "")
    assert engine.operations == ["store"] * kinds.count("s")


@pytest.mark.parametrize(("config", "before"), [(ENDLESS, 0), (SHIFTED, 1)], ids=["plain", "shifted"])
def test_what_is_sent_over_the_kept_prefix(config: ModelConfig, before: int) -> None:
    """All that is not kept, with a shift the last that is, too; slots of what is sent are hidden."""
    _, _, engine = decoded(config, cache_delay=0, **ONE, **ALONE)
    sent = [(launch.position_ids[0].tolist(), launch.visible) for launch in engine.launches if launch.cache]
    first, second = ((list(range(start - before, 21)), list(range(start - before))) for start in (5, 13))
    assert sent == [first] * 8 + [second] * 7


@both
def test_a_step_that_is_stored_keeps_the_rows_of_its_block(config: ModelConfig) -> None:
    """Of what the first block held when it was kept: a decode over a cache of its own making equals it."""
    _, steps, _ = decoded(config, cache_delay=0, **ONE, **ALONE)
    _, own, engine = decoded(config, cache_delay=0, refresh=9, **ONE, **ALONE)
    # The ninth forward keeps the first block, so it renews nothing; the tenth sees the same rows either way.
    assert own[:10] == steps[:10]
    assert engine.operations == ["store"]


@both
def test_blocks_begin_one_a_forward_and_the_first_unfinished_always_gets_a_token(config: ModelConfig) -> None:
    """With no entropy low enough a forward commits the lowest of all, and one of the first block if that has none of it."""
    asked, steps, _ = decoded(config, block_length=4, block_add_threshold=0.0, cache_delay=NEVER, **ONE)
    masks = set(range(5, 21))
    for forward, positions in enumerate(steps):
        assert max(positions) < 5 + 4 * (forward + 1)
        first = (min(masks) - 5) // 4
        here = [position for position in positions if (position - 5) // 4 == first]
        assert len(here) == 1
        assert len(positions) - len(here) <= 1
        masks -= set(positions)
    assert not masks
    assert any(len(positions) == 2 for positions in steps)
    assert MASK not in asked.canvas.tokens


@pytest.mark.parametrize(("least", "begins"), [(0.25, 1), (0.3, 2), (1.0, 4)])
def test_the_next_block_begins_at_a_share_of_the_last(least: float, begins: int) -> None:
    """Of four tokens: after one, two or all of them."""
    _, steps, _ = decoded(block_length=4, block_add_threshold=least, cache_delay=NEVER, **ONE)
    assert all(max(positions) < 9 for positions in steps[:begins])
    assert len([p for positions in steps[:begins] for p in positions]) == begins


def test_what_follows_the_end_of_text_becomes_it() -> None:
    """Masks and what was committed; given tokens stay, and so do masks before it."""
    canvas = Canvas([7, MASK, MASK, MASK, 9, MASK, MASK], CONFIG)
    end_text(canvas)
    assert canvas.changes == []
    for position, token in ((5, 8), (2, END)):
        at = canvas.tokens[:0].copy()
        at.resize(1)
        at[0] = position
        canvas.commit(at, at * 0 + token, at.astype("float32"))
    end_text(canvas)
    assert canvas.tokens.tolist() == [7, MASK, END, END, 9, END, END]
    changes = len(canvas.changes)
    end_text(canvas)
    assert len(canvas.changes) == changes


def test_early_stop_decodes_what_stands_before_the_end_and_no_more() -> None:
    """For each token that a decode writes, as if it were the end of text."""
    plain, _, _ = decoded(**ONE, cache_delay=1)
    for token in set(plain.canvas.tokens[5:].tolist()):
        config = ModelConfig(**{**vars(ENDLESS), "eos_token_ids": (token,)})
        asked, _, engine = decoded(config, early_stop=True, cache_delay=1, **ONE)
        generated = asked.canvas.tokens[5:].tolist()
        first = generated.index(token)
        assert MASK not in generated
        assert generated[first:] == [token] * (16 - first)
        assert len(engine.launches) <= 16
