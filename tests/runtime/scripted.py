"""Small systems for tests of the driver: each sends what a test wants, and says what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.runtime.decoding.canvas import Block, Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.step import StepResult
from dllm_edge.runtime.scheduler.request import Request
from dllm_edge.runtime.systems import SYSTEMS
from dllm_edge.runtime.systems.base import Decoding, System
from dllm_edge.runtime.unmasking.unmasker import Unmasker

from .numpy_engine import ENDLESS

PROMPTS = ([1, 7, 2, 9, 11], [4, 4, 8], [30, 2, 17, 6, 6, 12, 21, 1])
"""Of different lengths, so that a batch is padded."""


def scripted(decode: Callable[[Canvas], Decoding], name: str = "scripted", capacity: int = 0) -> System:
    """A system with that decode; it makes its own choices, by no rule."""

    def run(canvas: Canvas, settings: Settings, unmasker: Unmasker) -> Decoding:
        return decode(canvas)

    return System(name, "", "", run, lambda canvas, settings: capacity, (), ("bidirectional", "block-causal"), {})


def request(
    system: str | System, prompt: list[int] = PROMPTS[0], config: ModelConfig = ENDLESS, seed: int = 0, **settings: Any
) -> Request:
    """A request for a traced decode of 16 tokens in blocks of 8, unless `settings` say otherwise."""
    chosen = Settings(**{"gen_length": 16, "block_length": 8, **settings})
    canvas = Canvas.from_prompt(prompt, chosen.gen_length, config)
    return Request(canvas, SYSTEMS[system] if isinstance(system, str) else system, chosen, seed, trace=True)


def fill(canvas: Canvas, result: StepResult) -> None:
    """Commit the best candidate of the first masked position that the step predicts."""
    row = canvas.predicting(Block(0, len(canvas)), result.step)[:1]
    assert row.size
    canvas.commit(result.step.predicts[row], result.topk_ids[row, 0], result.logsumexp[row])


def windows(length: int) -> Callable[[Canvas], Decoding]:
    """A system that fills the canvas by steps of `length` rows without a cache."""

    def decode(canvas: Canvas) -> Decoding:
        for start in range(canvas.start, canvas.stop):
            block = Block(start, start + 1)
            fill(canvas, (yield canvas.window_step(block, Block(start, start + length), np.zeros(0, dtype=np.bool_))))

    return decode
