"""The canvas: one sequence's tokens, given and masked, its blocks, and the forwards that look at it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Integral

import numpy as np

from ...graphs.config import ModelConfig
from ...graphs.errors import DllmEdgeError, shown
from ..arrays import BoolArray, FloatArray, IntArray
from .changes import Change, Commit, Edit, Remask, Truncation
from .step import MAIN, Forward, Refresh, Step
from .window import Block, Window, Windows


class Canvas:
    """Tokens of one sequence, `[L]` int64, some of them the mask token, and every change that was made to them.

    Decoding happens from the first masked position, `start`, to the last; tokens that were given in between are kept
    (infilling). Only positions that were masked at the beginning ever change.
    """

    def __init__(self, tokens: Sequence[int] | IntArray, config: ModelConfig) -> None:
        self.tokens = _checked(tokens, config)
        self.config = config
        self.mask_token_id = -1 if config.mask_token_id is None else config.mask_token_id
        self.generated_positions: BoolArray = self.tokens == self.mask_token_id
        """`[L]`: true for the positions that are decoded, false for those of given tokens."""
        masks = np.flatnonzero(self.generated_positions)
        if not masks.size:
            raise DllmEdgeError("the canvas has no masked position: nothing to decode")
        self.start, self.stop = int(masks[0]), int(masks[-1]) + 1
        self.changes: list[Change] = []
        self._windows = Windows(config, self.tokens.size)
        self._end_ids = np.array(config.eos_token_ids, dtype=np.int64)
        self._end: int | None = None
        self._end_is_known = False
        # Whether any end-of-text token may be there: looked for in what is written, not in the whole region each time.
        self._has_ends = bool(self._ends(self.tokens[self.start : self.stop]).size)

    @classmethod
    def from_prompt(cls, prompt: Sequence[int], gen_length: int, config: ModelConfig) -> Canvas:
        """Return a canvas of a prompt followed by `gen_length` masks."""
        ids = token_ids(prompt, config)
        if not ids.size:
            raise DllmEdgeError("the prompt is empty: give it at least one token")
        if config.mask_token_id is not None and config.mask_token_id in ids:
            raise DllmEdgeError(f"the prompt contains the mask token (id {config.mask_token_id}): use a canvas for infilling")
        room = config.max_positions - int(ids.size)
        lower = f", or lower gen_length to {room}" if room > 0 else ""
        _check_length(ids.size + gen_length, config, f"shorten the prompt{lower}")
        mask = -1 if config.mask_token_id is None else config.mask_token_id
        return cls(np.concatenate((ids, np.full(gen_length, mask))), config)

    def __len__(self) -> int:
        return int(self.tokens.size)

    @property
    def whole(self) -> Block:
        return Block(0, len(self))

    def blocks(self, length: int) -> Iterator[Block]:
        """Yield the blocks of the region to decode, left to right; the last may be shorter, and truncation ends them.

        Those of a model with block-causal attention lie where its own do, so the first may be shorter, too. A `length` of 0
        makes the whole region one block.
        """
        start = self.start
        aligned = start // length * length if length and self.config.attention == "block-causal" else start
        length = length or self.stop - start
        while start < self.stop:
            aligned += length
            yield Block(start, min(aligned, self.stop))
            start = aligned

    def masked(self, block: Block) -> IntArray:
        """Return the masked positions of a block, ascending."""
        return np.flatnonzero(self.tokens[block.start : block.stop] == self.mask_token_id) + block.start

    def outside(self, block: Block) -> BoolArray:
        """Return `[L]`: true for the positions that are not in the block."""
        shown = np.ones(len(self), dtype=np.bool_)
        shown[block.start : block.stop] = False
        return shown

    def before(self, block: Block) -> BoolArray:
        """Return `[L]`: true for the positions before the block."""
        return np.arange(len(self)) < block.start

    def step(
        self,
        window: Window,
        *,
        predict: Window | None = None,
        visible: BoolArray | None = None,
        own_mask: BoolArray | None = None,
        input_ids: IntArray | None = None,
        logit_rows: IntArray | None = None,
        target_ids: IntArray | None = None,
        keep_rows: bool = False,
        model: str = MAIN,
    ) -> Step:
        """Return a step that sends the positions of `window` and predicts those of `predict` (None: the same).

        `own_mask` `[Q, Q]` stands in place of what the model lets these positions see of each other, `input_ids` `[Q]` in
        place of the canvas' tokens (a branch, a row of masks), `logit_rows` `[R]` in place of the first rows that have the
        positions which predict `predict` (branches, whose positions repeat). The rest is as in `Step`.
        """
        layout = self._windows.layout(window, predict)
        return Step(
            self.tokens[layout.positions] if input_ids is None else input_ids,
            layout.positions,
            layout.logit_rows if logit_rows is None else logit_rows,
            layout.predicts,
            layout.own_mask if own_mask is None else own_mask,
            target_ids,
            None,
            model,
            visible,
            keep_rows,
        )

    def refresh(
        self, window: Window | None = None, *, predict: Window, salient: Block | None = None, evicts: bool = False
    ) -> Refresh:
        """Return a refresh that sends the positions of `window` (None: all) and predicts those of `predict`.

        The cache's slot i then holds the window's i-th position. The queries of the block `salient` are averaged for
        `Saliency`; `evicts` is as in `Refresh`.
        """
        layout = self._windows.layout(self.whole if window is None else window, predict)
        return Refresh(
            self.tokens[layout.positions],
            layout.positions,
            layout.logit_rows,
            layout.predicts,
            layout.own_mask,
            saliency_weights=None if salient is None else _weights(layout.positions, salient),
            evicts=evicts,
        )

    def commit(self, positions: IntArray, ids: IntArray, confidences: FloatArray) -> None:
        """Write tokens to masked positions, in any order."""
        assert (self.tokens[positions] == self.mask_token_id).all()
        assert (ids != self.mask_token_id).all()
        if positions.size > 1:  # most steps commit one
            order = _order(positions)
            positions, ids, confidences = positions[order], ids[order], confidences[order]
        self._apply(Commit(positions, ids, confidences))

    @property
    def commits(self) -> list[Commit]:
        """The commits among the changes."""
        return [change for change in self.changes if isinstance(change, Commit)]

    def remask(self, positions: IntArray) -> None:
        """Put committed tokens back to the mask, in any order of their positions."""
        self._assert_committed(positions)
        positions = positions[_order(positions)]
        self._apply(Remask(positions, self.tokens[positions]))

    def edit(self, positions: IntArray, ids: IntArray, confidences: FloatArray) -> None:
        """Write other tokens over committed ones, in any order."""
        self._assert_committed(positions)
        assert (ids != self.mask_token_id).all()
        order = _order(positions)
        positions = positions[order]
        self._apply(Edit(positions, ids[order], confidences[order], self.tokens[positions]))

    def fill_end(self, position: int) -> None:
        """Commit the end-of-text token to every masked position from `position` on."""
        masks = self.masked(Block(position, self.stop))
        if masks.size:
            self.commit(masks, np.full(masks.size, self._end_ids[0]), np.ones(masks.size, dtype=np.float32))

    def end_after(self, position: int, token: int) -> None:
        """Let all that is decoded after `position` be end of text: masks are filled, other tokens become `token`."""
        self.fill_end(position + 1)
        after = np.flatnonzero(self.generated_positions[position + 1 :]) + position + 1
        others = after[~np.isin(self.tokens[after], self._end_ids)]
        if others.size:
            self.edit(others, np.full(others.size, token), np.ones(others.size, dtype=np.float32))

    def truncate(self, length: int) -> None:
        """Cut the canvas off after `length` positions, which must leave some of those that are decoded."""
        assert self.start < length <= len(self)
        if length < len(self):
            self.stop = min(self.stop, length)
            self.generated_positions = self.generated_positions[:length]
            self._windows = Windows(self.config, length)
            self._apply(Truncation(length))

    def predicting(self, block: Block, forward: Forward) -> IntArray:
        """Return the forward's logit rows that predict masked positions of the block, by position."""
        rows = self.predicting_rows(block, forward)
        masked: IntArray = rows[self.tokens[forward.predicts[rows]] == self.mask_token_id]
        return masked

    def predicting_rows(self, block: Block, forward: Forward) -> IntArray:
        """Return the forward's logit rows that predict positions of the block that are decoded, masked or not, by position.

        A row counts where it is the position's own, or with a logit shift the one before: a window's first may be neither.
        """
        positions = forward.predicts
        # Of positions that are there: the canvas may have been cut off since the forward was sent.
        counts = (positions >= block.start) & (positions < min(block.stop, len(self)))
        counts &= self.generated_positions[np.where(counts, positions, 0)]
        counts &= forward.position_ids[forward.logit_rows] == self._windows.predicting_positions(positions)
        rows: IntArray = counts.nonzero()[0]
        return rows[positions[rows].argsort(kind="stable")]

    def _assert_committed(self, positions: IntArray) -> None:
        assert self.generated_positions[positions].all(), "given tokens stay as they are"
        assert (self.tokens[positions] != self.mask_token_id).all()

    def _apply(self, change: Change) -> None:
        self.tokens = change.applied_to(self.tokens, self.mask_token_id)
        self.changes.append(change)
        self._end_is_known = False
        if isinstance(change, Commit) and not self._has_ends:
            self._has_ends = bool(self._ends(change.ids).size)
        elif not isinstance(change, Commit):
            self._has_ends = True

    @property
    def end_of_text(self) -> int | None:
        """Position of the first end-of-text token of the decoded region that has no mask before it, or None."""
        if not self._end_is_known:
            self._end, self._end_is_known = self._find_end(), True
        return self._end

    def _find_end(self) -> int | None:
        if not self._has_ends:
            return None
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
        """Return the indices of the end-of-text tokens among tokens. After every commit: `np.isin` takes ten times as long."""
        ends: IntArray = (region[:, None] == self._end_ids).any(1).nonzero()[0]
        return ends


def _order(positions: IntArray) -> IntArray:
    """Return the indices that put positions, each of which is there once, in ascending order."""
    order = positions.argsort(kind="stable")
    assert (np.diff(positions[order]) > 0).all(), "a change names each position once"
    return order


def _weights(positions: IntArray, block: Block) -> FloatArray:
    """Return `[Q]` float32: equal weights for the positions of the block, which add up to one, and zero for the others."""
    inside = (positions >= block.start) & (positions < block.stop)
    weights: FloatArray = np.where(inside, np.float32(1 / len(block)), np.float32(0)).astype(np.float32)
    return weights


def _checked(tokens: Sequence[int] | IntArray, config: ModelConfig) -> IntArray:
    """Return the tokens as an array of their own; raises `DllmEdgeError` where they are none of this model's."""
    if config.mask_token_id is None:
        raise DllmEdgeError(f"a {config.family} model has no mask token, so it cannot be decoded by diffusion")
    array = token_ids(tokens, config)
    if not array.size:
        raise DllmEdgeError("a canvas needs at least one token")
    _check_length(int(array.size), config, "give a shorter canvas")
    return array


def token_ids(tokens: Sequence[int] | IntArray, config: ModelConfig) -> IntArray:
    """Return `[n]` int64 of token ids that a caller gives; raises `DllmEdgeError` where they are none of this model's."""
    array = tokens if isinstance(tokens, np.ndarray) else _listed(tokens)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise DllmEdgeError("token ids must be whole numbers, in a list or an array of one axis")
    outside = array[(array < 0) | (array >= config.vocab_size)]
    if outside.size:
        raise DllmEdgeError(f"token id {outside[0]} lies outside the vocabulary of {config.vocab_size}")
    return array.astype(np.int64)


def _listed(tokens: Sequence[int]) -> IntArray:
    """Return a list of whole numbers as an array; numpy alone would take truth values, too."""
    if not isinstance(tokens, Sequence) or isinstance(tokens, str | bytes | bytearray):
        raise DllmEdgeError(f"token ids are {shown(tokens)}; they must be a list of whole numbers")
    wrong = [token for token in tokens if not isinstance(token, Integral) or isinstance(token, bool)]
    if wrong:
        raise DllmEdgeError(f"token ids must be whole numbers, not {shown(wrong[0])}")
    try:
        return np.array(tokens, dtype=np.int64)
    except OverflowError as error:
        raise DllmEdgeError("a token id lies outside every vocabulary: it has more than 64 bits") from error


def _check_length(length: int, config: ModelConfig, remedy: str) -> None:
    if length > config.max_positions:
        raise DllmEdgeError(f"prompt and generation take {length} positions; this model has {config.max_positions}: {remedy}")
