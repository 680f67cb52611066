"""What a decoding coroutine yields: steps and cache operations of one sequence, and what it receives for a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..arrays import BoolArray, FloatArray, IntArray

StepKind = Literal["full", "refresh", "block"]


@dataclass(frozen=True)
class Step:
    """One forward of one sequence. `Q` rows are sent; `visible` says which slots of its cache they see.

    `kind` is `full` (whole canvas, nothing kept), `refresh` (whole canvas, keys and values kept) or `block` (part of it).
    A refresh writes straight into the sequence's cache, or with `staging` into a buffer that `Select` then takes from.
    """

    kind: StepKind
    input_ids: IntArray
    position_ids: IntArray
    logit_rows: IntArray
    predicts: IntArray
    """`[R]`: the positions that the logit rows predict."""
    visible: BoolArray | None = None
    """`[C]` or `[Q, C]`: the slots that the rows see (None: none). Shorter than the capacity: the rest is hidden."""
    own_mask: BoolArray | None = None
    """`[Q, Q]`: which of the step's own rows each row sees (None: all)."""
    target_ids: IntArray | None = None
    """`[R, T]`: ids whose logits are wanted by name."""
    saliency_weights: FloatArray | None = None
    """`[Q]`: weights of the rows whose queries saliency averages."""
    staging: bool = False
    keep_rows: bool = False
    """Keep the rows' keys and values until the next step, for `Store`."""


@dataclass(frozen=True)
class Saliency:
    """Score every slot that the last refresh filled against its mean queries. The answer is `[layers, slots]` float32."""


@dataclass(frozen=True)
class Select:
    """Move the slots `keep` `[layers, m]` of the staged refresh to the first m slots of the sequence's cache."""

    keep: IntArray


@dataclass(frozen=True)
class Store:
    """Copy `rows` `[n]` of the last step to `slots` `[n]` of the sequence's cache."""

    slots: IntArray
    rows: IntArray


CacheOperation = Saliency | Select | Store


@dataclass(frozen=True)
class StepResult:
    """A step's head outputs for one sequence; shapes as in `graphs.contract`, without the batch axis."""

    step: Step
    topk_ids: IntArray
    topk_logits: FloatArray
    logsumexp: FloatArray
    entropy: FloatArray
    target_logits: FloatArray


Answer = StepResult | FloatArray | None
"""What the driver sends back: a result for a step, scores for `Saliency`, nothing for the other operations."""
