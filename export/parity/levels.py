"""Running the levels of a validation in order, up to the first that fails, and keeping what was found."""

from __future__ import annotations

import errno
import json
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...graphs.errors import unknown
from ...graphs.whole_file import FULL, write_json
from ...runtime.bundle.regular_file import read_small
from .report import LEVELS, Level, LevelName, Report

REPORTS = "reports"
# Where a bundle is another user's, or on a disk that is mounted so.
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


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
    """Write the report. Where that fails, what was found is still there to be printed, and `report.lost` says why it is not
    kept; of a bundle that is not to be written to, a warning says it."""
    try:
        file.parent.mkdir(exist_ok=True)
        write_json(file, with_kept_levels(report, file))
    except OSError as error:
        reason = f"{file}: the report is not kept, it cannot be written ({error.strerror})"
        if error.errno in READ_ONLY:
            warnings.warn(reason, stacklevel=2)
        else:
            report.lost = f"{reason}: {'make room' if error.errno in FULL else 'mend that'} and validate again"


def with_kept_levels(report: Report, file: Path) -> dict[str, Any]:
    """Return the report as JSON, with the later levels that `file` has of the same subject, reference and versions.

    They are left out where a level of the report fails: they would fail for its reason now.
    """
    data, names = report.to_json(), [level.name for level in report.levels]
    try:
        kept = json.loads(read_small(file))
        if report.passed and all(kept[field] == data[field] for field in ("subject", "reference", "versions")):
            data["levels"] += [level for level in kept["levels"] if level["name"] not in names]
            data["passed"] = all(level["passed"] for level in data["levels"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return report.to_json()
    return data


def not_applicable(name: LevelName, why: str) -> Level:
    return Level(name, True, [f"not applicable: {why}"], {"skipped": True})
