"""`dllm-edge eval` and `dllm-edge bench`: accuracy and speed of one system on a task, or of several on the same problems."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ...graphs.errors import DllmEdgeError
from ...runtime.evaluation.evaluate import Evaluation, evaluate_together
from ...runtime.evaluation.task import Task, find_task
from ...runtime.generate import Model
from .output import print_json, progress, screen
from .tables import evaluation_table


def evaluate_system(
    model: Model, task: str | None, system: str, limit: int, batch: int, seed: int, settings: dict[str, Any], as_json: bool
) -> None:
    (evaluation,) = evaluate_systems(model, task_of(model, task), [system], limit, batch, seed, settings)
    if as_json:
        print_json(evaluation.to_json())
    else:
        print_evaluations([evaluation])


def compare_systems(
    model: Model,
    task: str | None,
    systems: Sequence[str],
    limit: int,
    batch: int,
    seed: int,
    settings: dict[str, Any],
    as_json: bool,
) -> None:
    evaluations = evaluate_systems(model, task_of(model, task), systems, limit, batch, seed, settings)
    if as_json:
        print_json({"bundle": str(model.bundle.path), "systems": [evaluation.to_json() for evaluation in evaluations]})
    else:
        print_evaluations(evaluations)


def task_of(model: Model, name: str | None) -> Task:
    """The task of that name, or the bundle's own."""
    chosen = name or model.bundle.task
    if not chosen:
        raise DllmEdgeError(f"{model.bundle.path}: the bundle names no task: choose one with --task")
    return find_task(chosen)


def evaluate_systems(
    model: Model, task: Task, systems: Sequence[str], limit: int, batch: int, seed: int, settings: dict[str, Any]
) -> list[Evaluation]:
    runs = [(system, settings) for system in systems]
    with progress() as report:
        return evaluate_together(model, task, runs, limit, partial(report, task.name), batch=batch, seed=seed)


def print_evaluations(evaluations: Sequence[Evaluation]) -> None:
    first = evaluations[0]
    title = f"{first.task}, {first.samples} problems, {first.settings.gen_length} tokens"
    screen().print(evaluation_table(evaluations, title))
