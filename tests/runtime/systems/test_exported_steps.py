"""Exported graphs: steps over caches, built by Store and by refreshes, against whole canvases, at every step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from dllm_edge.runtime.systems.base import Decoding

from ..recorder import finish
from ..scripted import PROMPTS, fill, request, scripted
from .step_equality import assert_same, block_cache, pipelined, reordered

pytest.importorskip("torch", reason="bundles are exported for these")

# Logits of about +-10 in float32.
TOLERANCE = 2e-4


def refreshed(canvas: Canvas) -> Decoding:
    """Each block step comes right after a refresh of the same canvas."""
    for block in canvas.blocks(8):
        while canvas.masked(block).size:
            exact = yield canvas.refresh(predict=block)
            assert assert_same((yield canvas.step(block, visible=canvas.outside(block))), exact, TOLERANCE)
            fill(canvas, exact)


BLOCKS = block_cache(TOLERANCE, np.random.default_rng(0).permutation(48))
CASES = {
    "sdar": BLOCKS,
    "fast-dllm-v2": BLOCKS,
    "llada": pipelined(TOLERANCE, 8),
    "dream": pipelined(TOLERANCE, 8),
}


@pytest.mark.parametrize("family", CASES)
def test_steps_over_a_cache_equal_whole_canvases(family: str, tiny_bundle: Callable[..., Path]) -> None:
    """Three prompts of different lengths in one batch; Fast-dLLM v2's blocks of 32 begin within the first prompt's text."""
    bundle = Bundle.open(tiny_bundle(family))
    engine = OnnxRuntimeEngine(bundle, threads=1)
    prompts = [prompt * 4 for prompt in PROMPTS]
    for decode in (CASES[family], *([refreshed, reordered(TOLERANCE)] if family == "llada" else [])):
        asked = [request(scripted(decode, capacity=48), prompt, bundle.config) for prompt in prompts]
        finish(engine, asked)
        assert all(not each.canvas.masked(block).size for each in asked for block in each.canvas.blocks(8))
