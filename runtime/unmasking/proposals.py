"""Proposals: for each position that a rule looks at, a token and the confidence of the model in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from ..arrays import BoolArray, FloatArray, IntArray
from ..decoding.settings import Setting, declare
from ..decoding.step import StepResult

ConfidenceKind = Literal["maskgit_plus", "topk_margin", "entropy", "random"]

CONFIDENCE = declare(
    Setting(
        "confidence",
        "maskgit_plus",
        "What orders the candidates: `maskgit_plus`, `topk_margin`, `entropy` or `random`.",
        choices=get_args(ConfidenceKind),
    )
)


@dataclass(frozen=True, eq=False)
class Proposals:
    """`positions`, ascending, `ids` and `confidence`, each `[m]`; `rows` `[m]` are those of `result` that propose them.

    `masked` `[m]` is false where a position holds a committed token: for rules that look at those, too.
    """

    positions: IntArray
    ids: IntArray
    confidence: FloatArray
    masked: BoolArray
    rows: IntArray
    result: StepResult

    def __len__(self) -> int:
        return int(self.positions.size)

    @cached_property
    def topk_ids(self) -> IntArray:
        """`[m, K]`: the candidates of each position, best first."""
        return self.result.topk_ids[self.rows]

    @cached_property
    def topk_log_probs(self) -> FloatArray:
        """`[m, K]`: the log probabilities of the candidates under the distribution without temperature."""
        log_probs: FloatArray = self.result.topk_logits[self.rows] - self.result.logsumexp[self.rows, None]
        return log_probs

    @cached_property
    def entropy(self) -> FloatArray:
        """`[m]`: the entropy of each position's distribution over all ids, in nats."""
        return self.result.entropy[self.rows]


def sample(topk_logits: FloatArray, temperature: float, random: np.random.Generator) -> IntArray:
    """Return which of the K candidates each of `[m, K]` rows takes: the first, or the Gumbel-max draw at `temperature`."""
    if temperature == 0:
        return np.zeros(topk_logits.shape[0], dtype=np.int64)
    drawn: IntArray = np.argmax(topk_logits / temperature + random.gumbel(size=topk_logits.shape), axis=1)
    return drawn


def confidences(
    kind: ConfidenceKind,
    chosen_logits: FloatArray,
    topk_logits: FloatArray,
    logsumexp: FloatArray,
    entropy: FloatArray,
    random: np.random.Generator,
) -> FloatArray:
    """Return the confidence, `[m]` float32, in `chosen_logits` `[m]` under the model's distribution without temperature.

    `maskgit_plus` is the token's probability, `topk_margin` that of the best less that of the second best token,
    `entropy` the negative entropy (all three as Dream names them; the first is LLaDA's low confidence), `random` noise.
    """
    confidence: FloatArray
    if kind == "maskgit_plus":
        confidence = np.exp(chosen_logits - logsumexp)
    elif kind == "topk_margin":
        probabilities = np.exp(topk_logits[:, :2] - logsumexp[:, None])
        confidence = probabilities[:, 0] - probabilities[:, 1:].sum(1)
    elif kind == "entropy":
        confidence = -entropy
    else:
        confidence = random.random(chosen_logits.shape, dtype=np.float32)
    return confidence
