"""`dllm-edge validate`: a bundle against torch, or an engine against ONNX Runtime on a CPU, level by level."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...graphs.errors import DllmEdgeError
from .terminal import bundles
from .terminal.options import BundleArgument, EngineOptions, JsonOption, LevelOption, SamplesOption
from .terminal.validation import print_report, validate_against_cpu, validate_against_torch


def command(
    *,
    bundle: BundleArgument,
    level: LevelOption = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Compare with a checkpoint's weights instead of the bundle's own.", show_default=False)
    ] = None,
    samples: SamplesOption = None,
    engine: EngineOptions,
    as_json: JsonOption = False,
) -> None:
    if is_reference(engine):
        path = bundles.bundle_path(bundle)
        source = bundles.CHECKPOINT if bundle == bundles.DEMO and checkpoint is None else checkpoint
        report = validate_against_torch(path, source, level, samples)
    elif checkpoint is not None:
        raise DllmEdgeError("--checkpoint is for the validation against torch: leave it, or --engine, --device and --compute")
    else:
        report = validate_against_cpu(bundles.open_model(bundle, engine), level, samples)
    print_report(report, as_json)
    if not report.passed:
        raise typer.Exit(1)


def is_reference(engine: EngineOptions) -> bool:
    """Return whether this is what engines are held against, which is itself held against torch."""
    return engine.engine == "onnxruntime" and engine.device in (None, "cpu") and engine.compute in (None, "float32")
