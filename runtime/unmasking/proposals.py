"""Proposals: for each position that a rule looks at, a token and the confidence of the model in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from ..arrays import Array, FloatArray, IntArray
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

    `log_confidence` `[m]` is what rules rank by: logarithms tell apart what is near 1, where confidences round to the same
    float32. Of a negative entropy, which is a mean of log probabilities, it is that itself.
    `current_ids` `[m]` are what the positions hold: the mask token, or a committed one for rules that look at those, too.
    `rows` `[m]` are the rows of `result` that propose them.
    """

    positions: IntArray
    ids: IntArray
    confidence: FloatArray
    log_confidence: FloatArray
    current_ids: IntArray
    rows: IntArray
    result: StepResult

    def __len__(self) -> int:
        return int(self.positions.size)

    def instead(self, ids: IntArray, log_confidence: FloatArray) -> Proposals:
        """Return proposals of other tokens `[m]` for the same positions, of probabilities with these logarithms `[m]`."""
        return replace(self, ids=ids, confidence=np.exp(log_confidence), log_confidence=log_confidence)

    def taking(self, candidates: IntArray) -> Proposals:
        """Return these with other tokens: of each position the candidate of that number, `[m]`, and its probability."""
        rows = np.arange(len(self))
        return self.instead(self.topk_ids[rows, candidates], self.topk_log_probs[rows, candidates])

    @cached_property
    def topk_ids(self) -> IntArray:
        """`[m, K]`: the candidates of each position, best first."""
        return self.result.topk_ids[self.rows]

    @cached_property
    def topk_log_probs(self) -> FloatArray:
        """`[m, K]`: the log probabilities of the candidates under the distribution without temperature."""
        return self.result.topk_log_probs[self.rows]

    @property
    def current_log_probs(self) -> FloatArray:
        """`[m]`: the log probabilities of `current_ids`, for rules that look at committed positions, too."""
        log_probs: FloatArray = self.result.target_log_probs[self.rows, 0]
        return log_probs

    @cached_property
    def entropy(self) -> FloatArray:
        """`[m]`: the entropy of each position's distribution over all ids, in nats."""
        return self.result.entropy[self.rows]


def sample(topk_log_probs: FloatArray, temperature: float, random: np.random.Generator) -> IntArray:
    """Return which of the K candidates each of `[m, K]` rows takes: the first, or the Gumbel-max draw at `temperature`."""
    if temperature == 0:
        return np.zeros(topk_log_probs.shape[0], dtype=np.int64)
    drawn: IntArray = np.argmax(topk_log_probs + temperature * random.gumbel(size=topk_log_probs.shape), axis=1)
    return drawn


def log_confidences(
    kind: ConfidenceKind, rows: IntArray, candidates: IntArray, result: StepResult, random: np.random.Generator
) -> FloatArray:
    """Return the logarithm of the confidence, `[m]` float32, in the `candidates` `[m]` that the `rows` `[m]` of a result take.

    It is that under the model's distribution without temperature: `maskgit_plus` is the token's probability, `topk_margin`
    that of the best less that of the second best token, `entropy` the negative entropy (all three as Dream names them; the
    first is LLaDA's low confidence), `random` noise. The negative entropy is returned as it is.
    """
    if kind == "maskgit_plus":
        return result.topk_log_probs[rows, candidates]
    if kind == "topk_margin":
        return _log_margin(result.topk_log_probs[rows, :2])
    if kind == "entropy":
        return -result.entropy[rows]
    return log_of(random.random(rows.shape, dtype=np.float32))


def confidences(kind: ConfidenceKind, log_confidence: FloatArray) -> FloatArray:
    """Return the confidence, `[m]` float32, of which `log_confidences` are the logarithms."""
    return log_confidence if kind == "entropy" else np.exp(log_confidence)


def log_of(probabilities: Array) -> FloatArray:
    """Return the logarithms, float32, of probabilities of any shape: minus infinity of those that are not above 0."""
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(probabilities, 0)).astype(np.float32)


def _log_margin(log_probs: FloatArray) -> FloatArray:
    """Return log(p1 - p2) of log probabilities `[m, 2]`, exact where p1 is near 1; log p1 where there is one candidate."""
    best, others = log_probs[:, 0], log_probs[:, 1:].astype(np.float64)
    with np.errstate(divide="ignore"):
        margins: FloatArray = (best + np.log1p(-np.exp(others - best[:, None])).sum(1)).astype(np.float32)
    return margins
