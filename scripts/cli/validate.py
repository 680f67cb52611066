"""`dllm-edge validate`: a bundle against torch, or an engine against ONNX Runtime on a CPU, level by level."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from ...graphs.errors import DllmEdgeError
from ...runtime.generate import load
from .bundles import require_export
from .output import print_json, progress, screen

if TYPE_CHECKING:
    from ...export.parity import Report


def validate_bundle(path: Path, checkpoint: Path | None, level: str | None, as_json: bool, samples: int | None = None) -> bool:
    """Validate, print the report, and say whether every level holds."""
    return _told(validated(path, checkpoint, level, samples), as_json)


def is_reference(engine: str, device: str | None, compute: str | None) -> bool:
    """Whether these name what engines are held against, which is itself held against torch."""
    return engine == "onnxruntime" and device in (None, "cpu") and compute in (None, "float32")


def validate_on(
    path: Path,
    engine: str,
    device: str | None,
    compute: str | None,
    checkpoint: Path | None,
    level: str | None,
    as_json: bool,
    samples: int | None = None,
) -> bool:
    """Validate an engine, print the report, and say whether every level holds. Needs no torch."""
    if checkpoint is not None:
        raise DllmEdgeError("--checkpoint is for the validation against torch: leave it, or --engine, --device and --compute")
    from ...export.parity.engines.validate import validate_engine

    counts = {} if samples is None else {"samples": samples}
    model = load(path, engine=engine, device=device, compute=compute)
    with progress() as bars:
        report = validate_engine(model, level, lambda stage, share: bars(f"validate: {stage}", share), **counts)
    return _told(report, as_json)


def _told(report: Report, as_json: bool) -> bool:
    if as_json:
        print_json(report.to_json())
    else:
        print_report(report)
    return report.passed


def validated(path: Path, checkpoint: Path | None, level: str | None, samples: int | None) -> Report:
    """The report of a validation, whose progress is shown."""
    require_export()
    from ...export.parity.validate import validate

    counts = {} if samples is None else {"samples": samples}
    with progress() as bars:
        return validate(path, checkpoint, level, lambda stage, share: bars(f"validate: {stage}", share), **counts)


def print_report(report: Report) -> None:
    console = screen()
    console.print(f"{report.subject} against {report.reference}", style="dim", highlight=False)
    for level in report.levels:
        mark = "[green]holds[/]" if level.passed else "[red]FAILS[/]"
        console.print(f"[bold]{level.name}[/] {mark} ({level.seconds:.1f} s)")
        for line in level.lines:
            console.print(f"  {escape(line)}", highlight=False)
