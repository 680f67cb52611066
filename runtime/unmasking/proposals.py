"""Proposals: for each masked position that a step predicts, a token and how sure the model is of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..arrays import FloatArray, IntArray

Confidence = Literal["maskgit_plus", "topk_margin", "entropy", "random"]


@dataclass(frozen=True)
class Proposals:
    """`positions`, `ids` and `confidence`, each `[m]`, positions ascending."""

    positions: IntArray
    ids: IntArray
    confidence: FloatArray

    def __len__(self) -> int:
        return int(self.positions.size)

    def take(self, chosen: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
        return self.positions[chosen], self.ids[chosen], self.confidence[chosen]


def sample(topk_logits: FloatArray, temperature: float, random: np.random.Generator) -> IntArray:
    """Which of the K candidates each of `[m, K]` rows takes: the first, or the Gumbel-max draw at `temperature`."""
    if temperature == 0:
        return np.zeros(topk_logits.shape[0], dtype=np.int64)
    drawn: IntArray = np.argmax(topk_logits / temperature + random.gumbel(size=topk_logits.shape), axis=1)
    return drawn


def confidences(
    kind: Confidence,
    chosen_logits: FloatArray,
    topk_logits: FloatArray,
    logsumexp: FloatArray,
    entropy: FloatArray,
    random: np.random.Generator,
) -> FloatArray:
    """How sure the model is, `[m]` float32, of `chosen_logits` `[m]` under its distribution without temperature.

    `maskgit_plus` is the token's probability, `topk_margin` that of the best less that of the second best token,
    `entropy` the negative entropy (all three as Dream names them; the first is LLaDA's low confidence), `random` noise.
    """
    sure: FloatArray
    if kind == "maskgit_plus":
        sure = np.exp(chosen_logits - logsumexp)
    elif kind == "topk_margin":
        probabilities = np.exp(topk_logits[:, :2] - logsumexp[:, None])
        sure = probabilities[:, 0] - probabilities[:, 1:].sum(1)
    elif kind == "entropy":
        sure = -entropy
    else:
        sure = random.random(chosen_logits.shape, dtype=np.float32)
    return sure
