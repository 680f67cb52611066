"""The record of a decode, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .canvas import Commit
from .engines.base import Float32, Int64
from .steps import StepKind, StepResult


@dataclass(frozen=True)
class StepTrace:
    """One forward: what was sent, the best candidate of each position it predicts, what was committed."""

    forward: int
    kind: StepKind
    batch: int
    positions: Int64
    input_ids: Int64
    predicts: Int64
    best_ids: Int64
    probabilities: Float32
    margins: Float32
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
