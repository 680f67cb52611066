"""The unmasking of one sequence: proposals from a step's result, the block's rule over them, the commit."""

from __future__ import annotations

import numpy as np

from ..decoding.canvas import Block, Canvas
from ..decoding.settings import Settings
from ..decoding.step import StepResult
from .proposals import Proposals, confidences, sample
from .rules import Rule


class Unmasker:
    """What every system does with an answer. `random` is the request's own source of chance."""

    def __init__(self, canvas: Canvas, settings: Settings, random: np.random.Generator) -> None:
        self.canvas, self.settings, self.random = canvas, settings, random

    def begin(self, block: Block, first_alone: bool = False) -> None:
        """Start a block's rule. With `first_alone` a masked first position is committed on its own, whatever its confidence."""
        masked = self.canvas.masked(block)
        self.block, self.first_alone = block, first_alone and block.start in masked
        self.rule = Rule(self.settings, masked.size, self.settings.block_steps(masked.size), self.first_alone)

    @property
    def pending(self) -> bool:
        """Whether the block has masks left that are worth decoding."""
        return bool(self.canvas.masked(self.block).size) and not self.stopped

    @property
    def stopped(self) -> bool:
        """Whether the text has ended and nothing after its end is wanted."""
        return self.settings.early_stop and self.canvas.end_of_text is not None

    def commit(self, result: StepResult) -> None:
        """Commit what the rule chooses among the block's masked positions that the step predicts."""
        proposals = self.propose(result)
        if self.first_alone:
            self.first_alone = False
            chosen = np.zeros(1, dtype=np.int64)
        else:
            chosen = self.rule.choose(proposals.confidence)
        if chosen.size:
            self.canvas.commit(*proposals.take(chosen))

    def propose(self, result: StepResult) -> Proposals:
        """A token and its confidence for each masked position of the block that the step predicts."""
        rows = self.canvas.predicting(self.block, result.step)
        positions = result.step.predicts[rows]
        logits, logsumexp = result.topk_logits[rows], result.logsumexp[rows]
        place = sample(logits, self.settings.temperature, self.random)
        each = np.arange(positions.size)
        sure = confidences(self.settings.confidence, logits[each, place], logits, logsumexp, result.entropy[rows], self.random)
        return Proposals(positions, result.topk_ids[rows][each, place], sure)
