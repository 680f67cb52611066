"""Evaluations of systems on a task: made with a progress bar, shown as a table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ....graphs.errors import DllmEdgeError
from ....runtime.evaluation.evaluate import evaluate_together
from ....runtime.evaluation.evaluation import Evaluation
from ....runtime.evaluation.task import Task, find_task
from ....runtime.generate import Model
from .evaluation_table import EvaluationTable, Row
from .output import counted, screen
from .progress import progress_bars


def evaluate_system(
    model: Model, system: str, settings: dict[str, Any], task: str | None, limit: int, batch: int, seed: int
) -> Evaluation:
    """Decode the first `limit` problems of the task of that name, or of the bundle's own, with a system."""
    chosen = task_of(model, task)
    with progress_bars() as progress:
        (evaluation,) = evaluate_together(
            model, chosen, [(system, settings)], limit, partial(progress, chosen.name), batch=batch, seed=seed
        )
    return evaluation


def task_of(model: Model, name: str | None) -> Task:
    """Return the task of that name, or the bundle's own."""
    chosen = name or model.bundle.task
    if not chosen:
        raise DllmEdgeError(f"{model.bundle.path}: the bundle names no task: choose one with --task")
    return find_task(chosen)


def title_of(evaluation: Evaluation) -> str:
    """Return what an evaluation is of: task, problems and length."""
    length = counted(evaluation.settings.gen_length, "token")
    return f"{evaluation.task}, {counted(evaluation.samples, 'problem')}, {length}"


def print_evaluation(evaluation: Evaluation) -> None:
    screen().print(EvaluationTable([Row(evaluation.system, evaluation)], title_of(evaluation)))


def compared(evaluations: Sequence[Evaluation]) -> list[Row]:
    """Return a row for each evaluation, with its speed over the first's."""
    return [Row(each.system, each, evaluations[0].seconds / each.seconds) for each in evaluations]
