"""Windows: which positions of a canvas a forward sends, and which of its rows predict what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...graphs.config import ModelConfig
from ..arrays import BoolArray, IntArray
from .settings import Setting, declare

WINDOW = declare(
    Setting(
        "window",
        32,
        "Positions beside what is decoded that are sent: after the block (Streaming-dLLM), or before and after the first mask "
        "(FreeCache).",
        least=0,
    )
)


@dataclass(frozen=True)
class Block:
    """Positions `start` to `stop` (exclusive)."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


Window = Block | IntArray
"""Positions on a canvas: neighbours in order, or any `[Q]` in any order, with gaps or repeats."""


@dataclass(frozen=True, eq=False)
class Layout:
    """The arrays of a forward that do not depend on the canvas' tokens, as `Forward` has them."""

    positions: IntArray
    logit_rows: IntArray
    predicts: IntArray
    own_mask: BoolArray | None


class Windows:
    """The layouts of the windows on a canvas of `length` positions, those of blocks made once."""

    def __init__(self, config: ModelConfig, length: int) -> None:
        self.config = config
        self._all = np.arange(length)
        self._layouts: dict[tuple[Block, Block], Layout] = {}

    def positions(self, window: Window) -> IntArray:
        return self._all[window.start : window.stop] if isinstance(window, Block) else window

    def layout(self, window: Window, predict: Window | None = None) -> Layout:
        """Return the layout of a forward that sends `window` and predicts the positions of `predict`.

        With None these are the window's own; those that repeat are predicted by each of their rows, unless a logit shift
        makes it the row before.
        """
        if not isinstance(window, Block) and predict is None and not self.config.logit_shift:
            return Layout(window, np.arange(window.size), window, self.own_mask(window))
        predict = window if predict is None else predict
        if not (isinstance(window, Block) and isinstance(predict, Block)):
            return self._new_layout(window, predict)
        layout = self._layouts.get((window, predict))
        if layout is None:
            layout = self._layouts[window, predict] = self._new_layout(window, predict)
        return layout

    def _new_layout(self, window: Window, predict: Window) -> Layout:
        positions, predicts = self.positions(window), self.positions(predict)
        return Layout(positions, rows_of(positions, self.predicting_positions(predicts)), predicts, self.own_mask(positions))

    def predicting_positions(self, predicts: IntArray) -> IntArray:
        """Return the positions whose rows predict `predicts`: the same, or with a logit shift those before."""
        return np.maximum(predicts - 1, 0) if self.config.logit_shift else predicts

    def own_mask(self, positions: IntArray) -> BoolArray | None:
        """Return `[Q, Q]`: what the model lets the rows of these positions see of each other; None: everything."""
        if self.config.attention == "bidirectional":
            return None
        blocks = positions // self.config.attention_block if self.config.attention == "block-causal" else positions
        mask: BoolArray = blocks[:, None] >= blocks
        return mask


def rows_of(positions: IntArray, wanted: IntArray) -> IntArray:
    """Return for each of `wanted` the first row of `positions` that has it; row 0, which does not, where none has."""
    rows: IntArray = (positions == wanted[:, None]).argmax(1)
    return rows


def pruned_suffix(block: Block, length: int, ahead: int, trailing: int) -> IntArray:
    """Return the positions of a canvas of `length` that stay of it for a block: `[n]`, ascending.

    They are all up to the block's end, the `ahead` after that, and the last `trailing` of the canvas.
    """
    positions = np.arange(length)
    return positions[(positions < block.stop + ahead) | (positions >= length - trailing)]
