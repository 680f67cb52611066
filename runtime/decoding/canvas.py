"""The canvas: one sequence's tokens, given and masked, its blocks, and the steps that look at it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ...graphs.config import ModelConfig
from ...graphs.errors import DllmEdgeError
from ..arrays import BoolArray, FloatArray, IntArray
from .step import Step


@dataclass(frozen=True)
class Block:
    """Positions `start` to `stop` (exclusive)."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Commit:
    """Tokens written for good: positions in ascending order, their ids, and the confidences they were chosen with."""

    positions: IntArray
    ids: IntArray
    confidences: FloatArray


class Canvas:
    """Tokens of one sequence, `[L]` int64, some of them the mask token, and what has been committed to them.

    Decoding happens from the first masked position, `start`, to the last; given tokens in between are kept (infilling).
    """

    def __init__(self, tokens: Sequence[int] | IntArray, config: ModelConfig) -> None:
        if config.mask_token_id is None:
            raise DllmEdgeError(f"a {config.family} model has no mask token, so it cannot be decoded by diffusion")
        given = np.array(tokens)
        if given.size and given.dtype.kind not in "iu":
            raise DllmEdgeError("token ids must be whole numbers")
        self.tokens = given.astype(np.int64)
        self.config = config
        self.mask_token_id = config.mask_token_id
        if self.tokens.ndim != 1 or not self.tokens.size:
            raise DllmEdgeError("a canvas needs at least one token")
        if self.tokens.min() < 0 or self.tokens.max() >= config.vocab_size:
            outside = int(self.tokens[(self.tokens < 0) | (self.tokens >= config.vocab_size)][0])
            raise DllmEdgeError(f"token id {outside} lies outside the vocabulary of {config.vocab_size}")
        _check_length(len(self), config)
        masks = np.flatnonzero(self.tokens == self.mask_token_id)
        if not masks.size:
            raise DllmEdgeError("the canvas has no masked position: nothing to decode")
        self.start, self.stop = int(masks[0]), int(masks[-1]) + 1
        self.commits: list[Commit] = []
        self._positions = np.arange(len(self))
        self._end_ids = np.array(config.eos_token_ids, dtype=np.int64)

    @classmethod
    def from_prompt(cls, prompt: Sequence[int], gen_length: int, config: ModelConfig) -> Canvas:
        """A prompt followed by `gen_length` masks."""
        if not prompt:
            raise DllmEdgeError("the prompt is empty: give it at least one token")
        if config.mask_token_id in prompt:
            raise DllmEdgeError(f"the prompt contains the mask token (id {config.mask_token_id}): use a canvas for infilling")
        _check_length(len(prompt) + gen_length, config)
        mask = -1 if config.mask_token_id is None else config.mask_token_id
        return cls([*prompt, *[mask] * gen_length], config)

    def __len__(self) -> int:
        return int(self.tokens.size)

    def blocks(self, length: int) -> Iterator[Block]:
        """The blocks of the region to decode, left to right; the last may be shorter.

        Those of a model with block-causal attention lie where its own do, so the first may be shorter, too.
        """
        aligned = self.start // length * length if self.config.attention == "block-causal" else self.start
        edges = [self.start, *range(aligned + length, self.stop, length), self.stop]
        return (Block(start, stop) for start, stop in pairwise(edges))

    def masked(self, block: Block) -> IntArray:
        """Masked positions of a block, ascending."""
        return np.flatnonzero(self.tokens[block.start : block.stop] == self.mask_token_id) + block.start

    def outside(self, block: Block) -> BoolArray:
        """`[L]`: true for the positions that are not in the block."""
        shown = np.ones(len(self), dtype=np.bool_)
        shown[block.start : block.stop] = False
        return shown

    def before(self, block: Block) -> BoolArray:
        """`[L]`: true for the positions before the block."""
        return self._positions < block.start

    def full_step(self, block: Block, *, keep: bool = False, staging: bool = False, salient: bool = False) -> Step:
        """The whole canvas, with logits for one block; `keep` its keys and values; `salient`: the block's mean query."""
        weights = None
        if salient:
            weights = np.where(self.outside(block), np.float32(0), np.float32(1 / len(block))).astype(np.float32)
        return Step(
            kind="refresh" if keep or staging else "full",
            input_ids=self.tokens.copy(),
            position_ids=self._positions,
            logit_rows=self._rows(block, 0),
            predicts=self._positions[block.start : block.stop],
            own_mask=self._own_mask,
            saliency_weights=weights,
            staging=staging,
        )

    def window_step(self, block: Block, window: Block, visible: BoolArray) -> Step:
        """The positions of `window` (the block, or more), which see the slots `visible` and each other."""
        return Step(
            kind="block",
            input_ids=self.tokens[window.start : window.stop].copy(),
            position_ids=self._positions[window.start : window.stop],
            logit_rows=self._rows(block, window.start),
            predicts=self._positions[block.start : block.stop],
            visible=visible,
        )

    def predicting(self, block: Block, step: Step) -> IntArray:
        """The step's logit rows that predict masked positions of the block, by position.

        A row counts where it is the position's own, or with a logit shift the one before: a window's first may be neither.
        """
        positions = step.predicts
        wanted: BoolArray = self.tokens[positions] == self.mask_token_id
        wanted &= (positions >= block.start) & (positions < block.stop)
        wanted &= step.position_ids[step.logit_rows] == np.maximum(positions - int(self.config.logit_shift), 0)
        rows = wanted.nonzero()[0]
        return rows[positions[rows].argsort(kind="stable")]

    def commit(self, positions: IntArray, ids: IntArray, confidences: FloatArray) -> None:
        """Write tokens to masked positions, in any order."""
        order = np.argsort(positions, kind="stable")
        positions, ids, confidences = positions[order], ids[order], confidences[order]
        assert (self.tokens[positions] == self.mask_token_id).all()
        assert (ids != self.mask_token_id).all()
        self.tokens[positions] = ids
        self.commits.append(Commit(positions, ids, confidences))

    @property
    def end_of_text(self) -> int | None:
        """Position of the first end-of-text token of the decoded region that has no mask before it, or None."""
        region = self.tokens[self.start : self.stop]
        ends = self._ends(region)
        if not ends.size or (region[: ends[0]] == self.mask_token_id).any():
            return None
        return self.start + int(ends[0])

    @property
    def generated(self) -> IntArray:
        """Tokens of the decoded region before its first end-of-text token; masks that are left are not among them."""
        region = self.tokens[self.start : self.stop]
        ends = self._ends(region)
        text = region[: ends[0]] if ends.size else region
        generated: IntArray = text[text != self.mask_token_id]
        return generated

    def _ends(self, region: IntArray) -> IntArray:
        """Indices of the end-of-text tokens in a region. Asked in every step: `np.isin` takes ten times as long."""
        ends: IntArray = (region[:, None] == self._end_ids).any(1).nonzero()[0]
        return ends

    @cached_property
    def _own_mask(self) -> BoolArray | None:
        """`[L, L]`: what the model lets each position of a whole canvas see; None: everything."""
        if self.config.attention != "block-causal":
            return None
        blocks = self._positions // self.config.attention_block
        return blocks[:, None] >= blocks

    def _rows(self, block: Block, first: int) -> IntArray:
        """Rows, counted from position `first`, whose logits predict the block's positions."""
        shift = int(self.config.logit_shift)
        rows: IntArray = np.maximum(np.arange(block.start, block.stop) - shift - first, 0)
        return rows


def _check_length(length: int, config: ModelConfig) -> None:
    if length > config.max_positions:
        raise DllmEdgeError(
            f"prompt and generation take {length} positions; this model has {config.max_positions}: "
            "shorten the prompt or lower gen_length"
        )
