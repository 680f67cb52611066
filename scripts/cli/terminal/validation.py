"""Validations of a bundle: made with progress bars, and shown level by level."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ....graphs.errors import DllmEdgeError
from ....runtime.engines.onnxruntime.installation import require_onnxruntime
from ....runtime.generate import Model
from ..start import LeavingAtOnce
from .bundles import require_export
from .output import print_json, screen, verdict
from .progress import StageProgress, progress_bars

if TYPE_CHECKING:
    from ....export.parity import Report


def validate_against_torch(path: Path, checkpoint: Path | None, level: str | None, samples: int | None) -> Report:
    """Validate a bundle up to `level` against its own weights, or a checkpoint's, in torch."""
    require_export()
    require_onnxruntime()
    with LeavingAtOnce():
        from ....export.parity.torch_pair import TorchPair
        from ....export.parity.validate import validate

    with progress_bars() as progress:
        return validate(TorchPair(path, checkpoint), level, _staged(progress), **_counts(samples))


def validate_against_cpu(model: Model, level: str | None, samples: int | None) -> Report:
    """Validate an engine up to `level` against ONNX Runtime on the CPU in float32; needs no torch."""
    require_onnxruntime()
    from ....export.parity.engine_pair import EnginePair
    from ....export.parity.validate import validate

    with progress_bars() as progress:
        return validate(EnginePair(model), level, _staged(progress), **_counts(samples))


def _staged(progress: StageProgress) -> Callable[[str, float], None]:
    return lambda stage, share: progress(f"validate: {stage}", share)


def _counts(samples: int | None) -> dict[str, Any]:
    return {} if samples is None else {"samples": samples}


def print_report(report: Report, as_json: bool) -> None:
    """Print a report as JSON, or a heading and a paragraph for each level; raises where it could not be kept."""
    if as_json:
        print_json(report.to_json())
    else:
        _print_levels(report)
    require_kept(report)


def require_kept(report: Report) -> None:
    """Raise `DllmEdgeError` where the report's file could not be written, once the report is printed."""
    if report.lost is not None:
        raise DllmEdgeError(report.lost)


def _print_levels(report: Report) -> None:
    console = screen()
    line = partial(console.print, highlight=False)
    line(f"{report.subject} against {report.reference}", style="dim")
    for level in report.levels:
        mark = verdict(level.passed, "holds", "FAILS")
        console.print(Text(level.name, style="bold"), mark, f"({level.seconds:.1f} s)")
        for text in level.lines:
            line(f"  {text}")
