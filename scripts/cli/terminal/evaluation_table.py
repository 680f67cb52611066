"""Evaluations as a table: each figure in a column of its own where the terminal is wide, in Markdown too, else some stacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table

from ....runtime.evaluation.evaluation import Evaluation
from .output import size


@dataclass(frozen=True)
class Row:
    """An evaluation under a label; speed over a baseline, AUP and the paper's claim, where there are any."""

    label: str
    evaluation: Evaluation
    speed: float | None = None
    aup: float | None = None
    claim: str = ""


Cell = Callable[[Row], str]
"""Returns what a row has in a column; nothing where the row has none."""


@dataclass(frozen=True)
class Stack:
    """Columns that stand in one where there is no room for each, under a shorter `heading`."""

    heading: str
    columns: tuple[tuple[str, Cell], ...]


def _interval(row: Row) -> str:
    low, high = row.evaluation.interval
    return f"({100 * low:.0f}-{100 * high:.0f})"


def _peak(row: Row) -> str:
    steady, peak = row.evaluation.steady_cache_bytes, row.evaluation.peak_cache_bytes
    return f"({size(peak)})" if peak != steady else ""


STACKS = (
    Stack("system\nrule", (("system", lambda row: row.label), ("rule", lambda row: str(row.evaluation.settings.unmask)))),
    Stack("accuracy\n(95%)", (("accuracy", lambda row: f"{row.evaluation.accuracy:.1%}"), ("95% interval", _interval))),
    Stack(
        "tokens a\nforward,\nsecond",
        (
            ("tokens/forward", lambda row: f"{row.evaluation.tokens_per_forward:.2f}"),
            ("tokens/s", lambda row: f"{row.evaluation.tokens_per_second:.1f}"),
        ),
    ),
    Stack(
        "forwards\nrefreshes",
        (
            ("forwards", lambda row: str(row.evaluation.forwards)),
            ("refreshes", lambda row: str(row.evaluation.refresh_forwards)),
        ),
    ),
    Stack("rows\nsent", (("rows sent", lambda row: rounded(row.evaluation.rows_sent)),)),
    Stack(
        "speed\nAUP",
        (
            ("speed", lambda row: "" if row.speed is None else f"{row.speed:.2f}x"),
            ("AUP", lambda row: "" if row.aup is None else f"{row.aup:.0f}"),
        ),
    ),
    Stack(
        "cache\n(peak)",
        (("cache", lambda row: size(row.evaluation.steady_cache_bytes) if _cached(row) else "none"), ("at its peak", _peak)),
    ),
)
CLAIM: tuple[str, Cell] = ("its paper's speed", lambda row: row.claim)
Column = tuple[str, Cell]


def _cached(row: Row) -> bool:
    return row.evaluation.peak_cache_bytes > 0


def rounded(count: int) -> str:
    """Return a count in at most five characters and its unit: 950, 43.1k, 179.2M."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if count >= scale:
            return f"{count / (1e3 if unit == 'k' else scale):.1f}{unit}"
    return str(count)


class EvaluationTable:
    """A table that takes the form for which the console has room."""

    def __init__(self, rows: Sequence[Row], title: str) -> None:
        self.rows, self.title = rows, title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = self._table([(name, [cell]) for name, cell in columns_of(self.rows)], padding=(0, 1))
        fits = Measurement.get(console, options.update(max_width=10_000), wide).maximum <= options.max_width
        yield wide if fits else self._table([(stack.heading, _cells(stack)) for stack in STACKS], padding=0)

    def _table(self, columns: Sequence[tuple[str, list[Cell]]], padding: int | tuple[int, int]) -> Table:
        table = Table(title=self.title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=padding)
        for index, (heading, _) in enumerate(columns):
            table.add_column(heading, justify="right" if index else "left", no_wrap=True)
        for row in self.rows:
            table.add_row(*("\n".join(cell(row) for cell in cells) for _, cells in columns))
        return table


def _cells(stack: Stack) -> list[Cell]:
    """Return the cells that are stacked; of a label each setting on a line of its own."""
    return [_label_in_lines if name == "system" else cell for name, cell in stack.columns]


def _label_in_lines(row: Row) -> str:
    return row.label.replace(":", "\n ")


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """Return the columns in which a row has something."""
    return [column for stack in STACKS for column in stack.columns if any(column[1](row) for row in rows)]


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown, with the speed that each paper reports where one does."""
    columns = columns_of(rows) + ([CLAIM] if any(row.claim for row in rows) else [])
    lines = [[name for name, _ in columns], ["---"] * len(columns)]
    lines += [[f"`{row.label}`", *(cell(row) for _, cell in columns[1:])] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
