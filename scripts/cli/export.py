"""`dllm-edge export`: a checkpoint to a bundle."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from typing import Any

from ...graphs.families import FAMILIES, float16_warning
from ...runtime.bundle.bundle import Bundle
from ...runtime.engines.support import LEVELS, levels_by_engine
from ...runtime.engines.support_table import Level
from .start import LeavingAtOnce
from .terminal.bundles import require_export
from .terminal.options import CheckpointArgument, ExportOptions, JsonOption, NewBundleArgument
from .terminal.output import key_values, log, print_json, screen, size
from .terminal.progress import progress_bars
from .terminal.weights import weights_line


def command(
    *,
    checkpoint: CheckpointArgument,
    bundle: NewBundleArgument,
    options: ExportOptions,
    as_json: JsonOption = False,
) -> None:
    require_export()
    with LeavingAtOnce():
        from ...export.bundle import export_bundle
        from ...export.weights.report import read_weight_report

    started = time.perf_counter()
    with progress_bars() as progress:
        exported = export_bundle(checkpoint, bundle, progress=progress, **vars(options))
    seconds = time.perf_counter() - started
    manifest = exported.manifest
    if warning := float16_warning(FAMILIES[manifest.family], manifest.stored):
        log().print(f"warning: {warning}", soft_wrap=True, highlight=False)
    errors = read_weight_report(bundle)
    if as_json:
        print_json(_data(exported, seconds, errors))
    else:
        rows = _rows(exported, seconds, errors)
        screen().print(key_values({name: value for name, value in rows.items() if value}), soft_wrap=True)
        # Not in the table, which would break it into lines that cannot be copied.
        following = shlex.join(["dllm-edge", "validate", str(bundle), "--checkpoint", str(checkpoint)])
        screen().print(f"next: {following}", soft_wrap=True, highlight=False)


def _data(exported: Bundle, seconds: float, errors: Mapping[str, Any] | None) -> dict[str, Any]:
    manifest = exported.manifest
    return {
        "bundle": str(exported.path),
        "family": manifest.family,
        "stored": manifest.stored,
        "compute": manifest.compute,
        "graphs": [vars(graph) for graph in manifest.graphs["step"]],
        "bytes": _bytes(exported),
        "seconds": seconds,
        "weights": errors,
        "engines": _levels(exported),
    }


def _rows(exported: Bundle, seconds: float, errors: Mapping[str, Any] | None) -> dict[str, object]:
    manifest = exported.manifest
    return {
        "bundle": exported.path,
        "family": manifest.family,
        "weights": weights_line(manifest),
        "rounding": errors and _rounding(errors),
        "graphs": ", ".join(graph.file for graph in manifest.graphs["step"]),
        "engines": _engines(exported),
        "size": size(_bytes(exported)),
        "took": f"{seconds:.1f} s",
    }


def _levels(exported: Bundle) -> dict[str, Level]:
    manifest = exported.manifest
    return levels_by_engine({graph.flavour for graph in manifest.graphs["step"]}, manifest.compute, manifest.weights)


def _engines(exported: Bundle) -> str:
    """Return which engines take the bundle, by how far that is known, the best known first."""
    levels = _levels(exported)
    named = {level: [title for title, each in levels.items() if each == level] for level in LEVELS}
    return "; ".join(f"{level}: {', '.join(titles)}" for level, titles in named.items() if titles)


def _bytes(exported: Bundle) -> int:
    return sum(record.size for record in exported.manifest.files.values())


def _rounding(errors: Mapping[str, Any]) -> str:
    worst, tensor = errors["worst_layer"], errors["worst_tensor"]
    return (
        f"changed quantised weights by {errors['relative_error']:.2%}, most in {worst} ({errors['layers'][worst]:.2%}) "
        f"and {tensor} ({errors['tensors'][tensor]['relative_error']:.2%})"
    )
