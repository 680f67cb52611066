"""The record of a decode, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import FloatArray, IntArray
from .canvas import Commit
from .step import StepKind, StepResult


@dataclass(frozen=True)
class StepTrace:
    """One forward: what was sent, the best candidate of each position it predicts, what was committed."""

    forward: int
    kind: StepKind
    batch: int
    positions: IntArray
    input_ids: IntArray
    predicts: IntArray
    best_ids: IntArray
    probabilities: FloatArray
    margins: FloatArray
    """Difference of the best two logits of each row; infinite where there is one candidate."""
    commits: list[Commit]
    engine_seconds: float

    @classmethod
    def of(cls, forward: int, batch: int, result: StepResult, commits: list[Commit], seconds: float) -> StepTrace:
        step, logits = result.step, result.topk_logits
        second = logits[:, 1] if logits.shape[1] > 1 else np.full(logits.shape[0], -np.inf, dtype=np.float32)
        return cls(
            forward,
            step.kind,
            batch,
            step.position_ids,
            step.input_ids,
            step.predicts,
            result.topk_ids[:, 0],
            np.exp(logits[:, 0] - result.logsumexp),
            logits[:, 0] - second,
            commits,
            seconds,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "forward": self.forward,
            "kind": self.kind,
            "batch": self.batch,
            "positions": self.positions.tolist(),
            "input_ids": self.input_ids.tolist(),
            "predicts": self.predicts.tolist(),
            "best_ids": self.best_ids.tolist(),
            "probabilities": self.probabilities.tolist(),
            "committed": [
                {"positions": c.positions.tolist(), "ids": c.ids.tolist(), "confidences": c.confidences.tolist()}
                for c in self.commits
            ],
            "engine_seconds": self.engine_seconds,
        }
