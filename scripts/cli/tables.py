"""Evaluations as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from ...runtime.evaluation.evaluate import Evaluation
from .output import size

COLUMNS = ("accuracy\n(95% interval)", "tokens/\nforward", "tokens/\nsecond", "speed", "cache\n(peak)")


def evaluation_table(evaluations: Sequence[Evaluation], title: str) -> Table:
    """A row a system; speeds are ratios to the first."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("system", no_wrap=True)
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
        f"{evaluation.accuracy:.1%} ({100 * low:.0f}-{100 * high:.0f})",
        f"{evaluation.tokens_per_forward:.2f}",
        f"{evaluation.tokens_per_second:.1f}",
        f"{first.seconds / evaluation.seconds:.2f}x",
        "none" if not peak else size(steady) if steady == peak else f"{size(steady)}\n({size(peak)})",
    )
