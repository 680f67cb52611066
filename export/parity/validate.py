"""Validation of a subject against its reference: the four levels in order, and the report that is kept with the bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from .layers import check_layers
from .levels import REPORTS, keep, levels_up_to, not_applicable, run_levels
from .report import Level, LevelName, Report
from .runner import Pair
from .task import SAMPLES, check_task
from .trajectory import check_trajectory

Progress = Callable[[str, float], None]


def validate(
    pair: Pair,
    level: str | None = None,
    progress: Progress | None = None,
    samples: int = SAMPLES,
    skipped: Mapping[str, str] | None = None,
) -> Report:
    """Hold a pair's subject against its reference, and keep what was found in the bundle's `reports`.

    `level` is the last level to run (all of them by default), `samples` the number of problems of the task level. What the
    subject was not built for is reported as not applicable, as are the levels of `skipped`, each for its reason. `progress` is
    called with a level and the share that is done.
    """
    wanted = levels_up_to(level)
    pair.check()
    report = Report(str(pair.bundle.path), [], pair.versions(), pair.title, pair.reference_title)
    reasons = skipped or {}

    def run(name: LevelName) -> Level:
        if name in reasons:
            return not_applicable(name, reasons[name])
        return _run_level(pair, name, samples, progress or (lambda _stage, _share: None))

    run_levels(report, wanted, run)
    keep(report, pair.bundle.path / REPORTS / pair.report_file)
    return report


def _run_level(pair: Pair, name: LevelName, samples: int, progress: Progress) -> Level:
    progress(name, 0.0)
    level = _check(pair, name, samples, partial(progress, name))
    progress(name, 1.0)
    return level


def _check(pair: Pair, name: LevelName, samples: int, progress: Callable[[float], None]) -> Level:
    if name == "structure":
        return pair.structure()
    if name == "layers":
        return check_layers(pair, progress)
    if not pair.bundle.config.diffusion:
        return not_applicable(name, f"a {pair.bundle.config.family} model has no mask token")
    return check_trajectory(pair, progress) if name == "trajectory" else check_task(pair, samples, progress)
