"""The unmasking of one sequence: proposals from a forward's result, a block's rule over them, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..arrays import IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import Settings
from ..decoding.step import Forward, StepResult
from ..decoding.token_map import TokenMap
from ..decoding.trace import Choice
from ..decoding.window import Block
from .proposals import Proposals, confidences, log_confidences, sample
from .rule import Budget, Decision, Rule, find_rule

FIRST = np.zeros(1, dtype=np.int64)


class Unmasking:
    """The rules of one sequence's blocks, as its settings name them. `random` is the request's own source of chance.

    `tokens_of_guide` are what the guide has for the model's tokens, where there is one.
    """

    def __init__(
        self,
        canvas: Canvas,
        settings: Settings,
        random: np.random.Generator,
        traced: bool = False,
        tokens_of_guide: TokenMap | None = None,
    ) -> None:
        self.tokens_of_guide = tokens_of_guide
        self.canvas, self.settings, self.random, self.traced = canvas, settings, random, traced
        self.rule = find_rule(settings.unmask)
        self.early_stop: bool = settings.early_stop
        self.finishes_block = settings.stop_at == "block"
        self.choices: list[Choice] = []

    def take_choices(self) -> list[Choice]:
        """Return what decisions rested on since it was last asked, if they are `traced`."""
        choices, self.choices = self.choices, []
        return choices

    @property
    def stopped(self) -> bool:
        """Whether the text has ended and nothing after its end is wanted."""
        return self.early_stop and self.canvas.end_of_text is not None

    def blocks(self, first_alone: bool = False) -> Iterator[tuple[Block, BlockUnmasking]]:
        """Begin one block after the other, left to right, until the text has ended; `first_alone` as in `begin`.

        Where that waits for the end of the block, what follows it then becomes end of text.
        """
        for block in self.canvas.blocks(self.settings.block_length):
            yield block, self.begin(block, first_alone)
            if self.stopped:
                if self.finishes_block:
                    self.canvas.fill_end(block.stop)
                return

    def begin(self, block: Block, first_alone: bool = False, rule: Rule | None = None) -> BlockUnmasking:
        """Begin a block with its rule (None: that of the settings).

        With `first_alone` a masked first position is committed on its own by the first forward, whatever its confidence,
        and the rule goes on with step 1: a shifted model's refresh is all that predicts a block's first token.
        """
        masked = self.canvas.masked(block)
        alone = bool(first_alone and block.start in masked)
        if rule is None:
            steps = self.settings.block_steps(int(masked.size))
            rule = self.rule(self.settings, Budget(int(masked.size) - alone, steps, int(alone), self.random, block))
        return BlockUnmasking(self, block, rule, alone)


class BlockUnmasking:
    """One block in flight: its rule, and the steps that it took."""

    def __init__(self, unmasking: Unmasking, block: Block, rule: Rule, first_alone: bool) -> None:
        self.unmasking, self.canvas, self.block, self.rule = unmasking, unmasking.canvas, block, rule
        self.first_alone, self.step, self.looked_at = first_alone, 0, block
        self.forward: Forward | None = None
        self.length = 0
        self.rows: IntArray = FIRST

    @property
    def complete(self) -> bool:
        """Whether no position of the block is masked."""
        region = self.canvas.tokens[self.block.start : self.block.stop]
        return not (region == self.canvas.mask_token_id).any()

    @property
    def pending(self) -> bool:
        """Whether the block has masks left that are worth decoding, or tokens that its rule would look at again."""
        wanted = self.unmasking.finishes_block or not self.unmasking.stopped
        return wanted and (not self.complete or self.rule.revises)

    def commit(self, result: StepResult) -> Proposals:
        """Do what the rule decides over the block's positions that the forward predicts, and return what it looked at."""
        proposals = self.propose(result)
        step, self.step = self.step, self.step + 1
        if self.first_alone:
            self._apply(proposals, Decision(FIRST))
            # No later step may predict it, so the rule, which might take it back, does not see it.
            self.first_alone, self.forward, self.looked_at = False, None, Block(self.block.start + 1, self.block.stop)
        elif len(proposals):
            decision = self.rule.choose(proposals, self.canvas, step)
            proposals = decision.proposals or proposals
            if self.unmasking.traced:
                self.unmasking.choices += self._choices(proposals, decision)
            self._apply(proposals, decision)
        return proposals

    def _choices(self, proposals: Proposals, decision: Decision) -> Iterator[Choice]:
        """Yield what a decision rested on: the order of what is committed, and that of what is taken back."""
        yield Choice(
            proposals.positions, proposals.confidence if decision.scores is None else decision.scores, self.rule.gates()
        )
        if decision.remask_scores is not None:
            judged = ~np.isnan(decision.remask_scores)
            yield Choice(proposals.positions[judged], decision.remask_scores[judged], decision.remask_gates)

    def _apply(self, proposals: Proposals, decision: Decision) -> None:
        for indices, change in ((decision.commit, self.canvas.commit), (decision.edit, self.canvas.edit)):
            if indices.size:
                change(proposals.positions[indices], proposals.ids[indices], proposals.confidence[indices])
        if decision.remask.size:
            self.canvas.remask(proposals.positions[decision.remask])

    def propose(self, result: StepResult) -> Proposals:
        """Return a token and its confidence for each position of the block that the rule looks at and the forward predicts."""
        settings, random = self.unmasking.settings, self.unmasking.random
        rows, positions, current_ids = self._asked(result.step)
        temperature = settings.temperature
        log_probs = result.topk_log_probs[rows] if temperature else result.topk_log_probs[: rows.size]
        candidates = sample(log_probs, temperature, random)
        ids = result.topk_ids[rows, candidates]
        log_confidence = log_confidences(settings.confidence, rows, candidates, result, random)
        confidence = confidences(settings.confidence, log_confidence)
        return Proposals(positions, ids, confidence, log_confidence, current_ids, rows, result)

    def _asked(self, forward: Forward) -> tuple[IntArray, IntArray, IntArray]:
        """Return the forward's rows that the rule looks at, their positions and what these hold, each `[m]`."""
        length = len(self.canvas)
        if self.forward is None or self.length != length or not _same_rows(self.forward, forward):
            self.forward, self.length, self.rows = forward, length, self.canvas.predicting_rows(self.looked_at, forward)
        rows = self.rows
        positions = forward.predicts[rows]
        current_ids = self.canvas.tokens[positions]
        if self.rule.looks_at == "masked":
            masked = current_ids == self.canvas.mask_token_id
            rows, positions, current_ids = rows[masked], positions[masked], current_ids[masked]
        return rows, positions, current_ids


def _same_rows(first: Forward, second: Forward) -> bool:
    """Whether two forwards have the very same arrays where it counts for what their rows predict."""
    return (
        first.predicts is second.predicts
        and first.logit_rows is second.logit_rows
        and first.position_ids is second.position_ids
    )
