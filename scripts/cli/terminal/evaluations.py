"""Evaluations of systems on a task: made with a progress bar, shown as a table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from rich import box
from rich.table import Table

from ....graphs.errors import DllmEdgeError
from ....runtime.evaluation.evaluate import Evaluation, evaluate_together
from ....runtime.evaluation.task import Task, find_task
from ....runtime.generate import Model
from .output import counted, screen, size
from .progress import progress_bars

COLUMNS = ("accuracy\n(95% interval)", "tokens/\nforward", "tokens/\nsecond", "speed", "cache\n(peak)")


def evaluate_systems(
    model: Model, systems: Sequence[str], settings: dict[str, Any], task: str | None, limit: int, batch: int, seed: int
) -> list[Evaluation]:
    """Decode the first `limit` problems of the task of that name, or of the bundle's own, with each system."""
    chosen = task_of(model, task)
    runs = [(system, settings) for system in systems]
    with progress_bars() as progress:
        return evaluate_together(model, chosen, runs, limit, partial(progress, chosen.name), batch=batch, seed=seed)


def task_of(model: Model, name: str | None) -> Task:
    """Return the task of that name, or the bundle's own."""
    chosen = name or model.bundle.task
    if not chosen:
        raise DllmEdgeError(f"{model.bundle.path}: the bundle names no task: choose one with --task")
    return find_task(chosen)


def print_evaluations(evaluations: Sequence[Evaluation]) -> None:
    first = evaluations[0]
    length = counted(first.settings.gen_length, "token")
    title = f"{first.task}, {counted(first.samples, 'problem')}, {length}; speed as a ratio to the first row's"
    screen().print(evaluation_table(evaluations, title))


def evaluation_table(evaluations: Sequence[Evaluation], title: str) -> Table:
    """Return a table with a row a system; speeds are ratios to the first."""
    # Seven columns fit 80 characters only without padding.
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for column in ("system", "rule"):
        table.add_column(column, no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for evaluation in evaluations:
        table.add_row(*_cells(evaluation, evaluations[0]))
    return table


def _cells(evaluation: Evaluation, first: Evaluation) -> tuple[str, ...]:
    low, high = evaluation.interval
    steady, peak = evaluation.steady_cache_bytes, evaluation.peak_cache_bytes
    return (
        evaluation.system,
        evaluation.settings.unmask,
        f"{evaluation.accuracy:.1%} ({100 * low:.0f}-{100 * high:.0f})",
        f"{evaluation.tokens_per_forward:.2f}",
        f"{evaluation.tokens_per_second:.1f}",
        f"{first.seconds / evaluation.seconds:.2f}x",
        "none" if not peak else size(steady) if steady == peak else f"{size(steady)}\n({size(peak)})",
    )
