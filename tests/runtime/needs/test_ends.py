"""Ends of text that fill or cut off the canvas, and generations that are no multiple of the block."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.changes import Truncation
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.scheduler.request import Changed
from dllm_edge.runtime.scheduler.scheduler import Scheduler
from dllm_edge.runtime.systems import SYSTEMS
from dllm_edge.runtime.systems.base import Decode, Decoding
from dllm_edge.runtime.unmasking.unmasking import Unmasking

from ..numpy_engine import ENDLESS, MASK, SHIFTED, NumpyEngine
from ..scripted import PROMPTS, request
from .runs import decoded, run, system

RULE: dict[str, Any] = {"unmask": "threshold", "threshold": 0.4, "early_stop": False, "block_length": 4}


def ending(decode: Decode | str) -> ModelConfig:
    """A model whose end of text is a token that the first prompt is continued with, but not in the first of four blocks."""
    asked = request(decode if isinstance(decode, str) else system(decode), **RULE)
    run(NumpyEngine(), [asked])
    before = asked.canvas.tokens[:9].tolist()
    end = next(int(token) for token in asked.canvas.tokens[9:] if token not in before)
    return replace(ENDLESS, eos_token_ids=(end,))


def filling(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    """Streaming-dLLM: when a block is complete that holds an end of text, all after it is end of text."""
    for block in canvas.blocks(settings.block):
        rule = unmasking.begin(block)
        while not rule.complete:
            rule.commit((yield canvas.step(canvas.whole, predict=block)))
        if canvas.end_of_text is not None:
            return canvas.fill_end(block.stop)


def truncating(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    """Learn2PD: the canvas ends after the first end of text, whatever is masked before it; two blocks are in flight."""
    blocks = list(canvas.blocks(settings.block))
    flight = [unmasking.begin(block) for block in blocks]
    while any(not one.complete for one in flight):
        result = yield canvas.step(canvas.whole, predict=Block(canvas.start, canvas.stop))
        for one in [one for one in flight if not one.complete][:2]:
            one.commit(result)
            ends = np.flatnonzero(np.isin(canvas.tokens[canvas.start :], canvas.config.eos_token_ids))
            if ends.size:
                canvas.truncate(canvas.start + int(ends[0]) + 1)


def test_an_end_of_text_fills_the_canvas_and_saves_forwards() -> None:
    config = ending("vanilla")
    (each, end), *_ = decoded(filling, config, **RULE)
    (whole, all_forwards), *_ = decoded("vanilla", config, **RULE)
    stop, canvas = canvas_end(each.canvas), each.canvas
    assert MASK not in canvas.tokens
    assert set(canvas.tokens[stop + 4 :].tolist()) == set(config.eos_token_ids)
    assert canvas.generated.tolist() == whole.canvas.generated.tolist() == canvas.tokens[5:stop].tolist()
    assert end.forwards < all_forwards.forwards
    assert end.reason == "stop"


@pytest.mark.parametrize("name", ["vanilla", "fast-dllm-prefix", "fast-dllm-dual", "sparse-dllm", "streaming-dllm"])
def test_an_end_at_the_blocks_end_gives_the_same_text(name: str) -> None:
    """Whatever the system, every token of a plain decode in turn being the end: the text, the tokens after it, the forwards."""
    rule = {**RULE, "unmask": "quota"}
    asked = request(name, **rule)
    run(NumpyEngine(), [asked])
    later = 0
    for token in set(asked.canvas.tokens[5:].tolist()):
        config = replace(ENDLESS, eos_token_ids=(token,))
        stops = ({**rule, "early_stop": True, "stop_at": stop_at} for stop_at in ("text", "block"))
        ((at_text, soon), *_), ((at_block, late), *_) = (decoded(name, config, **settings) for settings in stops)
        end = canvas_end(at_block.canvas)
        block_stop = 5 + -(-(end - 4) // 4) * 4
        assert at_text.canvas.generated.tolist() == at_block.canvas.generated.tolist()
        assert MASK not in at_block.canvas.tokens
        assert set(at_block.canvas.tokens[block_stop:].tolist()) <= {token}
        assert (at_text.canvas.tokens[block_stop:] == MASK).all()
        assert (soon.reason, late.reason) == ("stop", "stop")
        assert soon.forwards <= late.forwards
        later += late.forwards - soon.forwards
    assert later


def test_without_an_early_stop_an_end_of_text_fills_nothing() -> None:
    config = ending("vanilla")
    ((plain, _), *_), ((waiting, _), *_) = (decoded("vanilla", config, **RULE, stop_at=at) for at in ("text", "block"))
    assert plain.canvas.tokens.tolist() == waiting.canvas.tokens.tolist()
    assert len(plain.canvas.changes) == len(waiting.canvas.changes)


def canvas_end(canvas: Canvas) -> int:
    end = canvas.end_of_text
    assert end is not None
    return end


def test_an_end_of_text_cuts_the_canvas_off() -> None:
    config = ending(truncating)
    runs = decoded(truncating, config, **RULE)
    for each, end in runs:
        cuts = [change.length for change in each.canvas.changes if isinstance(change, Truncation)]
        assert MASK not in each.canvas.tokens
        assert [line["length"] for step in end.trace for line in step.to_json()["truncated"]] == cuts
        assert len(each.canvas) == min([*cuts, each.canvas.start + 16])
        if cuts:
            assert each.canvas.tokens[-1] in config.eos_token_ids
            assert each.canvas.generated.size == len(each.canvas) - each.canvas.start - 1
    (first, _), *_ = runs
    assert len(first.canvas) < first.canvas.start + 16


def test_events_of_a_truncated_canvas_rebuild_it() -> None:
    config = ending(truncating)
    asked = [request(system(truncating), prompt, config, **RULE) for prompt in PROMPTS]
    rebuilt = {id(each): each.canvas.tokens.copy() for each in asked}
    for event in Scheduler(NumpyEngine(config)).run(asked):
        if isinstance(event, Changed):
            key = id(event.request)
            rebuilt[key] = event.change.applied_to(rebuilt[key], MASK)
    assert [rebuilt[id(each)].tolist() for each in asked] == [each.canvas.tokens.tolist() for each in asked]


@pytest.mark.parametrize("length", [1, 4, 8])
def test_a_block_beyond_the_end_of_a_canvas_that_was_cut_off_changes_nothing(length: int) -> None:
    """The forward was sent before: what it predicts beyond the end is nothing that is there."""
    seen: list[int] = []

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        first, second = (unmasking.begin(block) for block in canvas.blocks(8))
        result = yield canvas.step(canvas.whole, predict=canvas.whole)
        canvas.truncate(canvas.start + length)
        first.commit(result)
        second.commit(result)
        seen.append(int(canvas.masked(canvas.whole).size))

    run(NumpyEngine(), [request(system(decode), unmask="threshold", threshold=0.0)])
    assert seen == [0]


@pytest.mark.parametrize("config", [ENDLESS, SHIFTED], ids=["plain", "shifted"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_last_block_may_be_shorter(name: str, config: ModelConfig) -> None:
    """Nineteen in blocks of eight: 8, 8 and 3."""
    runs = decoded(name, config, gen_length=19, early_stop=False)
    for (each, end), prompt in zip(runs, PROMPTS, strict=True):
        predicted = {(int(step.predicts[0]), int(step.predicts[-1]) + 1) for step in end.trace}
        start = len(prompt)
        blocks = [(start, start + 8), (start + 8, start + 16), (start + 16, start + 19)]
        if name == "d3llm":  # which predicts all that is not kept
            blocks = [(start, start + 19), (start + 8, start + 19)]
        if name == "klass":  # which predicts all that follows, too
            blocks = [(first, start + 19) for first, _ in blocks]
        # Saber looks at what it decoded before, too.
        expected = {(start if name == "saber" else first, stop) for first, stop in blocks}
        assert predicted == expected or (name == "d3llm" and predicted <= expected)
        assert MASK not in each.canvas.tokens
        assert each.canvas.commits[-1].positions[0] >= start + 16 or name == "d3llm"
