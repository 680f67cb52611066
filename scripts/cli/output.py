"""What commands print: one JSON object or tables on stdout, progress on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

Report = Callable[[str, float], None]
"""Told a stage's name and the share of it that is done, 0 to 1."""


def screen() -> Console:
    """Stdout, made anew for whoever has replaced it."""
    return Console()


def log() -> Console:
    """Stderr."""
    return Console(stderr=True)


def print_json(data: Mapping[str, Any]) -> None:
    """One object; values that JSON lacks (NaN, infinity) are an error rather than another dialect."""
    print(json.dumps(data, indent=1, allow_nan=False))


@contextmanager
def progress() -> Iterator[Report]:
    """A progress bar a stage, on stderr; nothing before the first is told."""
    columns = (SpinnerColumn(), TextColumn("{task.description:<28}"), BarColumn(32), TimeElapsedColumn())
    bars = Progress(*columns, console=log())
    tasks: dict[str, TaskID] = {}

    def report(stage: str, share: float) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=1.0)
            bars.start()
        bars.update(tasks[stage], completed=share)

    try:
        yield report
    finally:
        if tasks:
            bars.stop()


def key_values(rows: Mapping[str, object]) -> Table:
    """A table of two columns without lines."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, str(value))
    return table


def size(count: int) -> str:
    """A number of bytes as people write it."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} bytes"
