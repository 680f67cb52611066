"""Running the levels of a validation in order, up to the first that fails, and keeping what was found."""

from __future__ import annotations

import json
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from ...graphs.errors import unknown
from .report import LEVELS, Level, LevelName, Report

REPORTS = "reports"


def levels_up_to(last: str | None) -> Sequence[LevelName]:
    """All levels, or those up to `last`."""
    if last is not None and last not in LEVELS:
        raise unknown("level", last, LEVELS)
    return LEVELS[: LEVELS.index(last) + 1] if last else LEVELS


def run_levels(report: Report, wanted: Sequence[LevelName], run: Callable[[LevelName], Level]) -> None:
    """Add each level to the report; those after one that fails would fail for its reason."""
    report.versions["python"] = platform.python_version()
    for name in wanted:
        started = time.perf_counter()
        found = run(name)
        found.seconds = time.perf_counter() - started
        report.levels.append(found)
        if not found.passed:
            return


def keep(report: Report, file: Path) -> None:
    """Write the report; where the bundle cannot be written to, warn: what was found is still there to be printed."""
    try:
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        warnings.warn(f"{file}: the report is not kept, it cannot be written ({error.strerror})", stacklevel=2)


def not_applicable(name: LevelName, why: str) -> Level:
    return Level(name, True, [f"not applicable: {why}"], {"skipped": True})
