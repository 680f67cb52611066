from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.runtime.arrays import IntArray
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.engines.base import Lanes
from dllm_edge.runtime.systems.base import Decoding

from ..numpy_engine import CONFIG, MASK, SHIFTED, NumpyEngine
from ..recorder import Recorder, finish
from ..scripted import PROMPTS, request, scripted
from .step_equality import assert_same, block_cache, pipelined, reordered

ALIGNED = replace(CONFIG, attention="block-causal", attention_block=4)
# Keys and values go through float32 caches, all else is float64; a log probability has the errors of two logits, 1e-5 each.
TOLERANCE = 2e-5
CASES = {
    "block cache": (ALIGNED, block_cache(TOLERANCE, np.arange(24))),
    "block cache, shifted": (replace(ALIGNED, logit_shift=True), block_cache(TOLERANCE, np.arange(24))),
    "slots in any order": (ALIGNED, block_cache(TOLERANCE, np.random.default_rng(0).permutation(24))),
    "pipelined": (CONFIG, pipelined(TOLERANCE, 4)),
    "pipelined, shifted": (SHIFTED, pipelined(TOLERANCE, 4)),
    "reordered": (CONFIG, reordered(TOLERANCE)),
}


@pytest.mark.parametrize("case", CASES)
def test_steps_over_a_cache_equal_whole_canvases(case: str) -> None:
    """For three sequences in a batch."""
    config, decode = CASES[case]
    asked = [request(scripted(decode, capacity=24), prompt, config) for prompt in PROMPTS]
    finish(NumpyEngine(config), asked)
    assert all(MASK not in each.canvas.tokens for each in asked)


class Forgetful(NumpyEngine):
    """Stores nothing."""

    def store(self, cache: Lanes, slots: IntArray, row: int, rows: IntArray) -> None:
        return


@pytest.mark.parametrize(
    ("engine", "slots"), [(Forgetful(ALIGNED), np.arange(24)), (NumpyEngine(ALIGNED), np.zeros(24, dtype=np.int64))]
)
def test_a_wrong_cache_is_noticed(engine: NumpyEngine, slots: IntArray) -> None:
    """The oracle above can fail."""
    with pytest.raises(AssertionError):
        finish(engine, [request(scripted(block_cache(TOLERANCE, slots), capacity=24), PROMPTS[2], ALIGNED)])


def test_targets_are_logits_by_name() -> None:
    """What verification and guides ask for; sequences with other numbers of targets run apart."""

    def decode(canvas: Canvas) -> Decoding:
        block = Block(canvas.start, canvas.start + 4)
        first = yield canvas.step(canvas.whole, predict=block)
        targets = first.topk_ids[:, : canvas.start % 4 + 1]
        again = yield replace(canvas.step(canvas.whole, predict=block), target_ids=targets)
        np.testing.assert_array_equal(again.target_log_probs, first.topk_log_probs[:, : targets.shape[1]])

    engine = Recorder(NumpyEngine())
    finish(engine, [request(scripted(decode), prompt) for prompt in PROMPTS])
    assert sorted(launch.profile.targets for launch in engine.launches) == [1, 1, 2, 4]


@pytest.mark.parametrize("config", [CONFIG, SHIFTED], ids=["plain", "shifted"])
def test_hidden_rows_and_slots_change_nothing(config: ModelConfig) -> None:
    """A canvas whose tail is hidden from all, against the canvas without it; and one among longer ones."""

    def decode(canvas: Canvas) -> Decoding:
        block, short = Block(canvas.start, canvas.start + 4), Block(0, canvas.start + 4)
        window = canvas.step(short, predict=block, visible=np.zeros(0, dtype=np.bool_))
        own = np.eye(len(canvas), dtype=np.bool_)
        own[:, : short.stop] |= np.arange(len(canvas))[:, None] < short.stop
        padded = yield replace(canvas.step(canvas.whole, predict=block), own_mask=own)
        assert assert_same((yield window), padded, 1e-6)
        hidden = yield replace(window, visible=np.zeros(24, dtype=np.bool_))
        assert assert_same(hidden, padded, 1e-6)

    finish(NumpyEngine(config), [request(scripted(decode, capacity=24), prompt, config) for prompt in PROMPTS])
