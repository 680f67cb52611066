"""`dllm-edge export`: a checkpoint to a bundle."""

from __future__ import annotations

import time
from pathlib import Path

from ..graphs.families import FAMILIES, float16_warning
from .bundles import require_export
from .output import key_values, log, print_json, progress, screen, size


def export_checkpoint(
    checkpoint: Path, path: Path, flavour: str, dtype: str, lora: Path | None, link: bool, overwrite: bool, as_json: bool
) -> None:
    require_export()
    from ..export.bundle import export_bundle

    started = time.perf_counter()
    with progress() as report:
        bundle = export_bundle(
            checkpoint, path, flavour=flavour, dtype=dtype, lora=lora, link=link, overwrite=overwrite, progress=report
        )
    seconds = time.perf_counter() - started
    manifest = bundle.manifest
    if warning := float16_warning(FAMILIES[manifest.family], manifest.stored):
        log().print(f"warning: {warning}", soft_wrap=True, highlight=False)
    total = sum(record.size for record in manifest.files.values())
    if as_json:
        graphs = [vars(graph) for graph in manifest.graphs["step"]]
        data = {"bundle": str(path), "family": manifest.family, "stored": manifest.stored, "compute": manifest.compute}
        print_json({**data, "graphs": graphs, "bytes": total, "seconds": seconds})
        return
    rows = {
        "bundle": path,
        "family": manifest.family,
        "weights": f"{manifest.stored}, computed in {manifest.compute}",
        "graphs": ", ".join(graph.file for graph in manifest.graphs["step"]),
        "size": size(total),
        "took": f"{seconds:.1f} s",
        "next": f"dllm-edge validate {path} --checkpoint {checkpoint}",
    }
    screen().print(key_values(rows), soft_wrap=True)
