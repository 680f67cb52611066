"""Parity level 4: accuracy on the bundle's own task."""

from __future__ import annotations

from collections.abc import Callable

from ...runtime.evaluation.evaluate import evaluate
from ...runtime.evaluation.evaluation import Evaluation
from ...runtime.evaluation.intervals import paired_difference
from ...runtime.evaluation.task import find_task
from .decodes import cheapest_system, unserved
from .levels import not_applicable
from .report import Level
from .runner import Pair

SAMPLES = 40


def check_task(pair: Pair, samples: int, progress: Callable[[float], None]) -> Level:
    """Compare the accuracy of both on the same problems, decoded by the system that sends the fewest tokens."""
    model = pair.subject
    if not model.bundle.task:
        return not_applicable("task", "the bundle names no task")
    task, system = find_task(model.bundle.task), cheapest_system(model)
    if system is None:
        return not_applicable("task", f"no system is for models with {model.config.attention} attention")
    problems = task.prompts(min(samples, task.size))
    if why := unserved(model, [model.request(model.encode(problem.question), system.name) for problem in problems]):
        return not_applicable("task", f"{system.name}: {why}")
    actual = evaluate(model, task, system.name, samples, lambda share: progress(share / 2))
    wanted = evaluate(pair.reference, task, system.name, samples, lambda share: progress(0.5 + share / 2))
    return _level(actual, wanted, pair.subject_name)


def _level(actual: Evaluation, wanted: Evaluation, name: str) -> Level:
    difference = paired_difference(actual.correct, wanted.correct)
    lines = [_line(actual, name), _line(wanted, "reference")]
    lines.append(f"difference {difference.difference:+.1%} ({difference.low:+.1%} to {difference.high:+.1%})")
    data = {"difference": difference.to_json(), "engine": actual.to_json(), "reference": wanted.to_json()}
    return Level("task", difference.high >= 0 >= difference.low, lines, data)


def _line(evaluation: Evaluation, label: str) -> str:
    low, high = evaluation.interval
    return (
        f"{evaluation.task}, {evaluation.system}, {label}: {sum(evaluation.correct)} of {evaluation.samples} right "
        f"({evaluation.accuracy:.1%}, 95% interval {low:.1%} to {high:.1%})"
    )
