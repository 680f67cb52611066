"""What a decoding coroutine yields: steps and cache operations of one sequence, and what it receives for a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .engines.base import Bool, Float32, Int64

StepKind = Literal["full", "refresh", "block"]


@dataclass(frozen=True)
class Step:
    """One forward of one sequence. `Q` rows are sent; `visible` says which slots of its cache they see.

    `kind` is `full` (whole canvas, nothing kept), `refresh` (whole canvas, keys and values kept) or `block` (part of it).
    A refresh writes straight into the sequence's cache, or with `staging` into a buffer that `Select` then takes from.
    """

    kind: StepKind
    input_ids: Int64
    position_ids: Int64
    logit_rows: Int64
    predicts: Int64
    """`[R]`: the positions that the logit rows predict."""
    visible: Bool | None = None
    """`[C]` or `[Q, C]`: the slots that the rows see (None: none). Shorter than the capacity: the rest is hidden."""
    own_mask: Bool | None = None
    """`[Q, Q]`: which of the step's own rows each row sees (None: all)."""
    target_ids: Int64 | None = None
    """`[R, T]`: ids whose logits are wanted by name."""
    saliency_weights: Float32 | None = None
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

    keep: Int64


@dataclass(frozen=True)
class Store:
    """Copy `rows` `[n]` of the last step to `slots` `[n]` of the sequence's cache."""

    slots: Int64
    rows: Int64


CacheOperation = Saliency | Select | Store


@dataclass(frozen=True)
class StepResult:
    """A step's head outputs for one sequence; shapes as in `graphs.contract`, without the batch axis."""

    step: Step
    topk_ids: Int64
    topk_logits: Float32
    logsumexp: Float32
    entropy: Float32
    target_logits: Float32


Answer = StepResult | Float32 | None
"""What the driver sends back: a result for a step, scores for `Saliency`, nothing for the other operations."""
