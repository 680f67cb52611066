"""Export a checkpoint and check the bundle at all four levels of parity.

    python -m dllm_edge.scripts.export_and_validate CHECKPOINT BUNDLE [--json]

The report is printed and kept in BUNDLE/reports/validate.json. The exit code is 1 where a level fails, 2 for bad input.
"""

from __future__ import annotations

from typing import Annotated

import typer

from .cli.bundles import require_export
from .cli.launch import launch_command
from .cli.options import (
    BundleOutput,
    CheckpointArgument,
    DtypeOption,
    EmbeddingWeightsOption,
    FlavourOption,
    GroupOption,
    HeadWeightsOption,
    JsonOption,
    LevelOption,
    LinkOption,
    LoraOption,
    OverwriteOption,
    WeightsOption,
)
from .cli.output import progress
from .cli.validate import validate_bundle


def export_and_validate(
    checkpoint: CheckpointArgument,
    bundle: BundleOutput,
    flavour: FlavourOption = "both",
    dtype: DtypeOption = "auto",
    weights: WeightsOption = "plain",
    group: GroupOption = 32,
    head_weights: HeadWeightsOption = "plain",
    embedding_weights: EmbeddingWeightsOption = "plain",
    lora: LoraOption = None,
    link: LinkOption = False,
    overwrite: OverwriteOption = False,
    level: LevelOption = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Problems of the task level.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Export a checkpoint and check the bundle at all four levels of parity."""
    require_export()
    from ..export.bundle import export_bundle

    with progress() as report:
        export_bundle(
            checkpoint,
            bundle,
            flavour=flavour,
            dtype=dtype,
            weights=weights,
            group=group,
            head_weights=head_weights,
            embedding_weights=embedding_weights,
            lora=lora,
            link=link,
            overwrite=overwrite,
            progress=lambda stage, share: report(f"export: {stage}", share),
        )
    # An adapter is merged into the bundle alone: the checkpoint's own weights are no reference for it.
    if not validate_bundle(bundle, None if lora else checkpoint, level, as_json, samples):
        raise typer.Exit(1)


def main() -> None:
    launch_command(export_and_validate)


if __name__ == "__main__":
    main()
