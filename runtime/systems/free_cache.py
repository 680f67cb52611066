"""FreeCache (FlashDLM, Hu et al. 2025, section 3): what was decided long enough ago is cached once, and never refreshed.

A first full pass caches the prompt. From then on each forward sends what is not frozen, and freezes with it what has its
final tokens by then: each complete block (`freeze=block`), every token before the first mask (`committed`), those more than
`window` before it (`window`, which sends no more than `window` after it either), or nothing beyond the prompt (`prompt`).

The authors' code freezes keys and values one forward too early, in part of masks; here they are always those of the tokens
that stay. This takes no forward of its own: the forward that begins a block sends the one before it once more.

A model with shifted logits (Dream) predicts a position from the row before it, so one position more is sent.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from ...graphs.errors import DllmEdgeError
from ..decoding.canvas import Canvas
from ..decoding.settings import CHECKS, Setting, Settings, declare
from ..decoding.step import Refresh, Reserve, Step, StepResult, Store
from ..decoding.window import WINDOW, Block
from ..unmasking.unmasking import Unmasking
from .base import Decoding, System, register

FREEZE = declare(
    Setting(
        "freeze",
        "block",
        "What FreeCache caches for good: `prompt`; `block`, complete blocks, too; `committed`, all before the first mask; "
        "`window`, all more than `window` before it.",
        choices=("prompt", "block", "committed", "window"),
    )
)
SLIDING = {"window": 128}
"""The authors' width, with which systems that have FreeCache begin."""


def _check_window(settings: Settings) -> None:
    if settings.freeze == "window" and settings.window < settings.block:
        raise DllmEdgeError(
            f"window={settings.window}: is smaller than a block of {settings.block}: use window={settings.block} or more, "
            "or a smaller block_length"
        )


CHECKS.append(_check_window)


class FreeCache:
    """The cache of one decode: its first `frozen` slots have the keys and values of tokens that stay as they are."""

    def __init__(self, canvas: Canvas, settings: Settings) -> None:
        self.canvas, self.freeze, self.window = canvas, settings.freeze, settings.window
        self.filled, self.frozen = False, 0

    def forward(self, block: Block, predict: Block | None = None) -> Generator[Refresh | Step | Store, Any, StepResult]:
        """Send what is not frozen while `block` is decoded; the answer predicts `predict`, or all masks that were sent."""
        canvas = self.canvas
        masks = canvas.masked(canvas.whole)
        # A block without masks is one that a rule still edits: all of it is sent.
        first = int(masks[0]) if masks.size and masks[0] < block.stop else block.start
        # A rule that takes tokens back thaws what follows them.
        self.frozen = min(self.frozen, first)
        sent = self._sent(first, block)
        wanted = masks[masks < sent.stop] if predict is None else predict
        if not self.filled:
            result: StepResult = yield canvas.refresh(Block(0, sent.stop), predict=wanted)
            self.filled, self.frozen = True, canvas.start
            return result
        result = yield canvas.step(sent, predict=wanted, visible=np.ones(sent.start, dtype=np.bool_), keep_rows=True)
        begin = sent.start if self.freeze == "window" else self.frozen
        final = np.arange(begin, self._freezable(first, block))
        if final.size:
            yield Store(final, final - sent.start)
            self.frozen = int(final[-1]) + 1
        return result

    def _sent(self, first: int, block: Block) -> Block:
        start, stop = self.frozen, len(self.canvas)
        if self.freeze == "window":
            start, stop = min(start, max(0, first - self.window)), min(stop, max(block.stop, first + self.window))
        return Block(max(0, start - self.canvas.config.logit_shift), stop)

    def _freezable(self, first: int, block: Block) -> int:
        """Return where what may be frozen ends: all before has its final tokens when it is sent."""
        return {"prompt": self.canvas.start, "block": min(block.start, first)}.get(self.freeze, first)


def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    yield Reserve(len(canvas))
    cache = FreeCache(canvas, settings)
    for block, rule in unmasking.blocks():
        while rule.pending:
            rule.commit((yield from cache.forward(block, predict=block)))


register(
    System(
        name="free-cache",
        summary="what was decided is cached once and for good; sends all that is not",
        source="FreeCache of FlashDLM (Hu et al. 2025)",
        since="2025-05",
        decode=decode,
        attention=("bidirectional",),
        settings=(FREEZE, WINDOW),
        defaults=SLIDING,
    )
)
