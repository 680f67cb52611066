"""Small systems for tests of the scheduler: each sends what a test wants, and says what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.step import Reserve, StepResult
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.scheduler.request import Request
from dllm_edge.runtime.systems import SYSTEMS
from dllm_edge.runtime.systems.base import Decoding, System
from dllm_edge.runtime.unmasking.proposals import Proposals
from dllm_edge.runtime.unmasking.unmasking import Unmasking

from .numpy_engine import CONFIG, ENDLESS, MASK

PROMPTS = ([1, 7, 2, 9, 11], [4, 4, 8], [30, 2, 17, 6, 6, 12, 21, 1])
"""Of different lengths, so that a batch is padded."""


def scripted(decode: Callable[[Canvas], Decoding], name: str = "scripted", capacity: int = 0) -> System:
    """A system with that decode; it makes its own choices, by no rule."""

    def run(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        if capacity:
            yield Reserve(capacity)
        yield from decode(canvas)

    return System(name, "", "", "2025-01", run, ("bidirectional", "block-causal"))


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
    canvas.commit(result.step.predicts[row], result.topk_ids[row, 0], np.exp(result.topk_log_probs[row, 0]))


def windows(length: int) -> Callable[[Canvas], Decoding]:
    """A system that fills the canvas by steps of `length` rows without a cache."""

    def decode(canvas: Canvas) -> Decoding:
        for start in range(canvas.start, canvas.stop):
            block = Block(start, start + 1)
            fill(canvas, (yield canvas.step(Block(start, start + length), predict=block, visible=np.zeros(0, dtype=np.bool_))))

    return decode


def proposals_of(confidence: list[float]) -> Proposals:
    """Proposals with these confidences for the positions from 1 on, all masked."""
    count = len(confidence)
    values, rows = np.array(confidence, dtype=np.float32), np.arange(count)
    step = Canvas([7, *[MASK] * count], CONFIG).step(Block(1, count + 1))
    columns = np.zeros((count, 1), dtype=np.float32)
    result = StepResult(step, rows[:, None], np.log(values)[:, None], columns[:, 0], columns)
    return Proposals(rows + 1, rows, values, np.log(values), np.full(count, MASK), rows, result)
