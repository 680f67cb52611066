"""`dllm-edge validate`: a bundle against torch, level by level."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from .bundles import require_export
from .output import print_json, progress, screen

if TYPE_CHECKING:
    from ..export.parity import Report


def validate_bundle(path: Path, checkpoint: Path | None, level: str | None, as_json: bool, samples: int | None = None) -> bool:
    """Validate, print the report, and say whether every level holds."""
    report = validated(path, checkpoint, level, samples)
    if as_json:
        print_json(report.to_json())
    else:
        print_report(report)
    return report.passed


def validated(path: Path, checkpoint: Path | None, level: str | None, samples: int | None) -> Report:
    """The report of a validation, whose progress is shown."""
    require_export()
    from ..export.parity import validate

    counts = {} if samples is None else {"samples": samples}
    with progress() as bars:
        return validate(path, checkpoint, level, lambda stage, share: bars(f"validate: {stage}", share), **counts)


def print_report(report: Report) -> None:
    console = screen()
    for level in report.levels:
        mark = "[green]holds[/]" if level.passed else "[red]FAILS[/]"
        console.print(f"[bold]{level.name}[/] {mark} ({level.seconds:.1f} s)")
        for line in level.lines:
            console.print(f"  {escape(line)}", highlight=False)
