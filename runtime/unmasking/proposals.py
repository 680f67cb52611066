"""Proposals: for each position that a rule looks at, a token and the confidence of the model in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from ..arrays import FloatArray, IntArray
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
    """`positions`, ascending, the `ids` proposed for them and the `confidence` in these, each `[m]`.

    `current_ids` `[m]` are what the positions hold: the mask token, or a committed one for rules that look at those, too.
    `rows` `[m]` are the rows of `result` that propose them.
    """

    positions: IntArray
    ids: IntArray
    confidence: FloatArray
    current_ids: IntArray
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
    kind: ConfidenceKind, rows: IntArray, candidates: IntArray, result: StepResult, random: np.random.Generator
) -> FloatArray:
    """Return the confidence, `[m]` float32, in the `candidates` `[m]` that the `rows` `[m]` of a result take.

    It is that under the model's distribution without temperature: `maskgit_plus` is the token's probability, `topk_margin`
    that of the best less that of the second best token, `entropy` the negative entropy (all three as Dream names them; the
    first is LLaDA's low confidence), `random` noise.
    """
    confidence: FloatArray
    if kind == "maskgit_plus":
        confidence = np.exp(result.topk_logits[rows, candidates] - result.logsumexp[rows])
    elif kind == "topk_margin":
        probabilities = np.exp(result.topk_logits[rows, :2] - result.logsumexp[rows, None])
        confidence = probabilities[:, 0] - probabilities[:, 1:].sum(1)
    elif kind == "entropy":
        confidence = -result.entropy[rows]
    else:
        confidence = random.random(rows.shape, dtype=np.float32)
    return confidence
