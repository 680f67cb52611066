"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from .output import log

# Seconds of what was done last that the time left is estimated from: one decode may take minutes.
ESTIMATED_FROM = 3600.0

StageProgress = Callable[[str, float], None]
"""Takes a stage's name and the share of it that is done, 0 to 1."""

PhaseProgress = Callable[[str, str, float], None]
"""Takes a stage's name, the phase that it is in, and the share of the stage that is done, 0 to 1."""


@contextmanager
def progress_bars() -> Iterator[StageProgress]:
    """A bar for each stage, with the time that it has taken and has left; nothing is shown before the first begins."""
    with phase_bars(width=28, time_left=True) as progress:
        yield lambda stage, share: progress(stage, "", share)


@contextmanager
def phase_bars(width: int, time_left: bool = False) -> Iterator[PhaseProgress]:
    """A bar for each stage, with the stage's name in `width` columns before it and its phase behind it."""
    name = TextColumn(f"{{task.description:<{width}}}", markup=False)
    columns: list[ProgressColumn] = [SpinnerColumn(), name, BarColumn(24), TimeElapsedColumn()]
    columns += [TimeRemainingColumn()] if time_left else []
    columns += [TextColumn("{task.fields[phase]}", markup=False)]
    bars = Progress(*columns, console=log(), speed_estimate_period=ESTIMATED_FROM)
    tasks: dict[str, TaskID] = {}

    def progress(stage: str, phase: str, share: float) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=1.0, phase="")
            bars.start()
        bars.update(tasks[stage], completed=share, phase="" if share == 1 else phase)

    try:
        yield progress
    finally:
        if tasks:
            bars.stop()
