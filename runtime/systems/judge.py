"""The judge of guided diffusion (FlashDLM, Hu et al. 2025, section 4): an autoregressive guide accepts drafts left to right.

The guide reads the text so far and the drafts behind it in one causal pass, up to `verify` drafts at a time over a cache of
its own, and each draft is held against what it would write there itself. What follows the first rejected draft is not judged.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from ...graphs.errors import DllmEdgeError
from ..arrays import BoolArray, IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import Setting, Settings, declare
from ..decoding.step import GUIDE, Refresh, Reserve, Step, StepResult, Store
from ..unmasking.unmasking import Unmasking

ACCEPT = declare(
    Setting(
        "accept",
        "deterministic",
        "Which drafts the guide accepts: `deterministic`, its own best token; `topk`, one of its `accept_top_k` best; "
        "`topk_relative`, such a one of at least `accept_ratio` times its best's probability; `dynamic_threshold`, one above "
        "`accept_threshold`; `original`, each by chance, as probable as it is.",
        choices=("deterministic", "topk", "topk_relative", "dynamic_threshold", "original"),
    )
)
ACCEPT_TOP_K = declare(Setting("accept_top_k", 2, "How many of the guide's best tokens `accept` takes.", least=1, most=32))
ACCEPT_RATIO = declare(
    Setting("accept_ratio", 0.5, "Of the guide's best probability, for `topk_relative`.", least=0.0, most=1.0)
)
ACCEPT_THRESHOLD = declare(
    Setting("accept_threshold", 0.1, "The guide's probability that `dynamic_threshold` asks for.", least=0.0, most=1.0)
)
VERIFY = declare(Setting("verify", 32, "How many drafts a forward of the guide judges.", least=1))
SETTINGS = (ACCEPT, ACCEPT_TOP_K, ACCEPT_RATIO, ACCEPT_THRESHOLD, VERIFY)

Judging = Generator[Refresh | Reserve | Step | Store, Any, int]


class Judge:
    """What the guide has read: `ids` in its own vocabulary, of the text before position `covered`; `cached` are in its cache.

    The last of them is never cached: its row judges the next draft.
    """

    def __init__(self, canvas: Canvas, settings: Settings, unmasking: Unmasking) -> None:
        if unmasking.tokens_of_guide is None:
            raise DllmEdgeError("this system needs a guide, and the request has none")
        self.canvas, self.settings, self.random = canvas, settings, unmasking.random
        self.tokens = unmasking.tokens_of_guide
        self.ids: list[int] = []
        self.covered = self.cached = self.slots = 0

    def accepted(self, drafts: IntArray) -> Judging:
        """Return how many of `drafts` `[m]`, for the positions from the first mask on, the guide accepts; given tokens count.

        The text before the first mask is complete by then, whoever wrote it.
        """
        first = int(self.canvas.masked(self.canvas.whole)[0])
        self.ids += self.tokens.expanded(self.canvas.tokens[self.covered : first])
        self.covered = first
        known = ~self.canvas.generated_positions[first : first + drafts.size]
        judged = self.tokens.single[drafts]
        # Before any text there is no row to judge by, and what the guide has no token for it never accepts.
        judged = judged[: _leading(judged >= 0)] if self.ids else judged[:0]
        taken = 0
        while taken < judged.size:
            chunk = judged[taken : taken + self.settings.verify]
            count = yield from self._judged(chunk, known[taken : taken + chunk.size])
            taken += count
            if count < chunk.size:
                break
        self.covered += taken
        return taken

    def _judged(self, drafts: IntArray, known: BoolArray) -> Judging:
        """Send the text that is not cached and all drafts but the last; return how many are accepted, which are cached."""
        ids = np.array([*self.ids[self.cached :], *drafts[:-1]], dtype=np.int64)
        yield from self._reserve(self.cached + ids.size)
        result: StepResult = yield self._forward(ids, drafts)
        count = _leading(known | self._accepts(result, drafts))
        self.ids += drafts[:count].tolist()
        final = min(ids.size, len(self.ids) - 1 - self.cached)
        if self.cached:
            yield Store(self.cached + np.arange(final), np.arange(final), GUIDE)
        self.cached += final
        return count

    def _reserve(self, slots: int) -> Generator[Reserve, Any, None]:
        """Reserve room for all that is to come at first, and for more where tokens become several of the guide's."""
        if slots > self.slots:
            self.slots = max(slots, 2 * self.slots, len(self.ids) + len(self.canvas) - self.covered)
            yield Reserve(self.slots, model=GUIDE)

    def _forward(self, ids: IntArray, drafts: IntArray) -> Refresh | Step:
        """Return the causal forward of `ids`: the first fills the cache, those after it read it."""
        rows = np.arange(ids.size - drafts.size, ids.size)
        position_ids, predicts = self.cached + np.arange(ids.size), self.cached + 1 + rows
        layout = ids, position_ids, rows, predicts, np.tri(ids.size, dtype=np.bool_), drafts[:, None], None, GUIDE
        return Step(*layout, np.ones(self.cached, dtype=np.bool_), True) if self.cached else Refresh(*layout)

    def _accepts(self, result: StepResult, drafts: IntArray) -> BoolArray:
        """Return `[m]`: which drafts are as the setting `accept` asks, each by itself."""
        settings, log_probs, best = self.settings, result.target_log_probs[:, 0], result.topk_log_probs[:, 0]
        among = (result.topk_ids[:, : settings.accept_top_k] == drafts[:, None]).any(1)
        accepted: BoolArray
        if settings.accept == "deterministic":
            accepted = result.topk_ids[:, 0] == drafts
        elif settings.accept == "topk":
            accepted = among
        elif settings.accept == "topk_relative":
            accepted = among & (np.exp(log_probs - best) >= settings.accept_ratio)
        elif settings.accept == "dynamic_threshold":
            accepted = np.exp(log_probs) > settings.accept_threshold
        else:
            accepted = self.random.random(drafts.size) < np.exp(log_probs)
        return accepted


def _leading(flags: BoolArray) -> int:
    """Return how many of `flags` `[m]` are true before the first that is not."""
    return int(np.logical_and.accumulate(flags).sum())
