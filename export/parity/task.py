"""Parity level 4: accuracy on the bundle's own task."""

from __future__ import annotations

from collections.abc import Callable

from ...runtime.evaluation.evaluate import Evaluation, evaluate
from ...runtime.evaluation.intervals import paired_difference
from ...runtime.evaluation.task import find_task
from ...runtime.generate import Model
from .levels import not_applicable
from .report import Level

SYSTEM = "fast-dllm-dual"
SAMPLES = 40


def check_task(model: Model, reference: Model, label: str, samples: int, tell: Callable[[float], None]) -> Level:
    """Accuracy of both on the same problems, and their paired difference; `label` is what the model runs on."""
    if not model.bundle.task:
        return not_applicable("task", "the bundle names no task")
    task = find_task(model.bundle.task)
    found = [
        evaluate(model, task, SYSTEM, samples, lambda share: tell(share / 2)),
        evaluate(reference, task, SYSTEM, samples, lambda share: tell(0.5 + share / 2)),
    ]
    difference = paired_difference(found[0].correct, found[1].correct)
    lines = [_line(each, name) for name, each in zip((label, "reference"), found, strict=True)]
    lines.append(f"difference {difference.difference:+.1%} ({difference.low:+.1%} to {difference.high:+.1%})")
    data = {"difference": difference.to_json(), "engine": found[0].to_json(), "reference": found[1].to_json()}
    return Level("task", difference.high >= 0 >= difference.low, lines, data)


def _line(evaluation: Evaluation, label: str) -> str:
    low, high = evaluation.interval
    return (
        f"{evaluation.task}, {evaluation.system}, {label}: {sum(evaluation.correct)} of {evaluation.samples} right "
        f"({evaluation.accuracy:.1%}, 95% interval {low:.1%} to {high:.1%})"
    )
