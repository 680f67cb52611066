"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from .output import log

StageProgress = Callable[[str, float], None]
"""Takes a stage's name and the share of it that is done, 0 to 1."""

PhaseProgress = Callable[[str, str, float], None]
"""Takes a stage's name, the phase that it is in, and the share of the stage that is done, 0 to 1."""


@contextmanager
def progress_bars() -> Iterator[StageProgress]:
    """A bar for each stage; nothing is shown before the first begins."""
    with phase_bars(width=28) as progress:
        yield lambda stage, share: progress(stage, "", share)


@contextmanager
def phase_bars(width: int) -> Iterator[PhaseProgress]:
    """A bar for each stage, with the stage's name in `width` columns before it and its phase behind it."""
    columns = (SpinnerColumn(), TextColumn(f"{{task.description:<{width}}}", markup=False), BarColumn(32), TimeElapsedColumn())
    bars = Progress(*columns, TextColumn("{task.fields[phase]}", markup=False), console=log())
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
