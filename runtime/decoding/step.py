"""What a decoding coroutine yields: forwards and cache operations of one sequence; and what it is sent for a forward."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ..arrays import BoolArray, FloatArray, IntArray

ForwardKind = Literal["full", "refresh", "block"]

MAIN, GUIDE = "main", "guide"
"""The names of the models that a forward may ask for: the one that is decoded, and a second one that judges or helps it."""


@dataclass(frozen=True, eq=False)
class Forward:
    """One forward of one sequence: `Q` rows are sent, `R` of them pass through the LM head.

    Positions may come in any order, with gaps or repeats. Arrays are not to be changed once they are in a forward: whoever
    runs it may keep what was written of them for the next.
    """

    input_ids: IntArray
    """`[Q]`"""
    position_ids: IntArray
    """`[Q]`"""
    logit_rows: IntArray
    """`[R]`: the rows that pass through the LM head."""
    predicts: IntArray
    """`[R]`: the positions that the logit rows predict."""
    own_mask: BoolArray | None = None
    """`[Q, Q]`: which of the forward's own rows each row sees (None: all)."""
    target_ids: IntArray | None = None
    """`[R, T]`: ids whose log probabilities are wanted by name."""
    saliency_weights: FloatArray | None = None
    """`[Q]`: weights of the rows whose queries saliency averages."""
    model: str = MAIN


@dataclass(frozen=True, eq=False)
class Step(Forward):
    """A forward that reads the sequence's cache and leaves it as it is."""

    visible: BoolArray | None = None
    """`[C]` or `[Q, C]`: the slots that the rows see (None: none). Shorter than the capacity: the rest is hidden."""
    keep_rows: bool = False
    """Keep the rows' keys and values until the next forward, for `Store`."""

    @property
    def kind(self) -> ForwardKind:
        return "full" if self.visible is None else "block"


@dataclass(frozen=True, eq=False)
class Refresh(Forward):
    """A forward that sees its own rows alone and fills the cache: keys and values of row i become those of slot i.

    What was in later slots is lost. With `evicts` keys and values go to a buffer of their own instead, from which `Select`
    then takes what stays.
    """

    evicts: bool = False

    @property
    def kind(self) -> ForwardKind:
        return "refresh"


@dataclass(frozen=True)
class Reserve:
    """Give the sequence a cache of `slots` slots; a larger one than it has keeps what is in its slots.

    `bound` says that refreshes will fill it directly: false where they all evict.
    """

    slots: int
    bound: bool = True
    model: str = MAIN


@dataclass(frozen=True)
class Saliency:
    """Score every slot that the last refresh filled against its mean queries. The answer is `[layers, slots]` float32."""

    model: str = MAIN


@dataclass(frozen=True, eq=False)
class Select:
    """Move the slots `keep` `[layers, m]` of the last refresh, which evicts, to the first m slots of the sequence's cache."""

    keep: IntArray
    model: str = MAIN


@dataclass(frozen=True, eq=False)
class Store:
    """Copy `rows` `[n]` of the last step, which kept them, to `slots` `[n]` of the sequence's cache."""

    slots: IntArray
    rows: IntArray
    model: str = MAIN


CacheOperation = Reserve | Saliency | Select | Store


@dataclass(frozen=True, eq=False)
class StepResult:
    """A forward's head outputs for one sequence; shapes as in `graphs.contract`, without the batch axis."""

    step: Step | Refresh
    topk_ids: IntArray
    topk_log_probs: FloatArray
    entropy: FloatArray
    target_log_probs: FloatArray

    def select(self, rows: IntArray) -> StepResult:
        """Return the result of some of its logit rows, `[n]`: those of one branch of several, for instance."""
        targets = self.step.target_ids
        step = replace(
            self.step,
            logit_rows=self.step.logit_rows[rows],
            predicts=self.step.predicts[rows],
            target_ids=None if targets is None else targets[rows],
        )
        return StepResult(
            step,
            self.topk_ids[rows],
            self.topk_log_probs[rows],
            self.entropy[rows],
            self.target_log_probs[rows],
        )


Answer = StepResult | FloatArray | None
"""What the scheduler sends back: a result for a forward, scores for `Saliency`, nothing for the other operations."""
