"""Export a checkpoint and check the bundle at all four levels of parity.

    python -m dllm_edge.scripts.export_and_validate CHECKPOINT BUNDLE [--json]

The report is printed and kept in BUNDLE/reports/validate.json. The exit code is 1 where a level fails, 2 for bad input.
"""

from __future__ import annotations

import typer

from .cli.terminal.bundles import require_export
from .cli.terminal.launch import launch_command
from .cli.terminal.options import (
    CheckpointArgument,
    ExportOptions,
    JsonOption,
    LevelOption,
    NewBundleArgument,
    SamplesOption,
)
from .cli.terminal.progress import progress_bars
from .cli.terminal.validation import print_report, validate_against_torch


def export_and_validate(
    *,
    checkpoint: CheckpointArgument,
    bundle: NewBundleArgument,
    options: ExportOptions,
    level: LevelOption = None,
    samples: SamplesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export a checkpoint and check the bundle at all four levels of parity."""
    require_export()
    from ..export.bundle import export_bundle

    with progress_bars() as progress:
        export_bundle(checkpoint, bundle, progress=lambda stage, share: progress(f"export: {stage}", share), **vars(options))
    # An adapter is merged into the bundle alone: the checkpoint's own weights are no reference for it.
    report = validate_against_torch(bundle, None if options.lora else checkpoint, level, samples)
    print_report(report, as_json)
    if not report.passed:
        raise typer.Exit(1)


def main() -> None:
    launch_command(export_and_validate)


if __name__ == "__main__":
    main()
