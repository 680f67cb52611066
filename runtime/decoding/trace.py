"""The record of a decode, forward by forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import FloatArray, IntArray
from .changes import Change, Commit, Edit, Remask, Truncation
from .step import ForwardKind, StepResult


@dataclass(frozen=True, eq=False)
class Choice:
    """What a decision rested on: scores `[m]` of positions `[m]`, and the scores at which it would have been another."""

    positions: IntArray
    scores: FloatArray
    gates: Sequence[float]


@dataclass(frozen=True, eq=False)
class StepTrace:
    """One forward: what was sent, the best candidate of each position it predicts, what changed on the canvas, and why."""

    forward: int
    kind: ForwardKind
    model: str
    batch: int
    positions: IntArray
    input_ids: IntArray
    predicts: IntArray
    best_ids: IntArray
    probabilities: FloatArray
    margins: FloatArray
    """Difference of the best two log probabilities of each row; infinite where there is one candidate."""
    changes: list[Change]
    choices: list[Choice]
    engine_seconds: float

    @classmethod
    def of(
        cls, forward: int, batch: int, result: StepResult, changes: list[Change], choices: list[Choice], seconds: float
    ) -> StepTrace:
        step, log_probs = result.step, result.topk_log_probs
        second = log_probs[:, 1] if log_probs.shape[1] > 1 else np.full(log_probs.shape[0], -np.inf, dtype=np.float32)
        return cls(
            forward,
            step.kind,
            step.model,
            batch,
            step.position_ids,
            step.input_ids,
            step.predicts,
            result.topk_ids[:, 0],
            np.exp(log_probs[:, 0]),
            log_probs[:, 0] - second,
            changes,
            choices,
            seconds,
        )

    @property
    def commits(self) -> list[Commit]:
        return [change for change in self.changes if isinstance(change, Commit)]

    def to_json(self) -> dict[str, Any]:
        return {
            "forward": self.forward,
            "kind": self.kind,
            "model": self.model,
            "batch": self.batch,
            "positions": self.positions.tolist(),
            "input_ids": self.input_ids.tolist(),
            "predicts": self.predicts.tolist(),
            "best_ids": self.best_ids.tolist(),
            "probabilities": self.probabilities.tolist(),
            "committed": self._json_of(Commit),
            "remasked": self._json_of(Remask),
            "edited": self._json_of(Edit),
            "truncated": self._json_of(Truncation),
            "engine_seconds": self.engine_seconds,
        }

    def _json_of(self, kind: type) -> list[dict[str, Any]]:
        return [change.to_json() for change in self.changes if isinstance(change, kind)]
