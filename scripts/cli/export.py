"""`dllm-edge export`: a checkpoint to a bundle."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...graphs.families import FAMILIES, float16_warning
from .bundles import require_export
from .info import weights_line
from .output import key_values, log, print_json, progress, screen, size


def export_checkpoint(checkpoint: Path, path: Path, as_json: bool, **options: Any) -> None:
    """Export and print what was made; `options` are those of `export.bundle.export_bundle`."""
    require_export()
    from ...export.bundle import export_bundle
    from ...export.weights.report import read_weight_report

    started = time.perf_counter()
    with progress() as report:
        bundle = export_bundle(checkpoint, path, progress=report, **options)
    seconds = time.perf_counter() - started
    manifest = bundle.manifest
    if warning := float16_warning(FAMILIES[manifest.family], manifest.stored):
        log().print(f"warning: {warning}", soft_wrap=True, highlight=False)
    total = sum(record.size for record in manifest.files.values())
    errors = read_weight_report(path)
    if as_json:
        graphs = [vars(graph) for graph in manifest.graphs["step"]]
        data = {"bundle": str(path), "family": manifest.family, "stored": manifest.stored, "compute": manifest.compute}
        print_json({**data, "graphs": graphs, "bytes": total, "seconds": seconds, "weights": errors})
        return
    rows = {
        "bundle": path,
        "family": manifest.family,
        "weights": weights_line(manifest),
        "rounding": errors and _rounding(errors),
        "graphs": ", ".join(graph.file for graph in manifest.graphs["step"]),
        "size": size(total),
        "took": f"{seconds:.1f} s",
        "next": f"dllm-edge validate {path} --checkpoint {checkpoint}",
    }
    screen().print(key_values({name: value for name, value in rows.items() if value}), soft_wrap=True)


def _rounding(errors: Mapping[str, Any]) -> str:
    worst, tensor = errors["worst_layer"], errors["worst_tensor"]
    return (
        f"changed quantised weights by {errors['relative_error']:.2%}, most in {worst} ({errors['layers'][worst]:.2%}) "
        f"and {tensor} ({errors['tensors'][tensor]['relative_error']:.2%})"
    )
