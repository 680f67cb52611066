"""The models that are measured: random weights of known shapes, and the demo, exported in the dtypes asked for."""

from __future__ import annotations

from pathlib import Path

from ....export.bundle import export_bundle
from ...checkpoints.random_llada import SCALES, write_random, write_random_llada
from ...cli.terminal.bundles import CHECKPOINT, DEMO, opens
from ...cli.terminal.progress import StageProgress
from ..engine import SHAPE

# The sizes of Fast-dLLM v2 1.5B with Dream's bidirectional attention: the decode that is timed is for no other.
DREAM = {key: value for key, value in SHAPE.items() if key != "bd_size"} | {
    "architectures": ["DreamModel"],
    "model_type": "Dream",
}


def bundle_of(folder: Path, shape: str, compute: str, progress: StageProgress) -> Path:
    """Return a bundle of a shape, or of the demo, that computes in `compute`; made in `folder` unless it is there."""
    path = folder / f"{shape}-{compute}.bundle"
    if opens(path):
        return path
    checkpoint = CHECKPOINT if shape == DEMO else _checkpoint(folder, shape, progress)
    # Random weights are bfloat16, so there they need not be written twice.
    linked = shape != DEMO and compute == "bfloat16"
    stage = f"export {shape} in {compute}"
    export_bundle(
        checkpoint, path, dtype=compute, link=linked, overwrite=True, progress=lambda _stage, share: progress(stage, share)
    )
    return path


def _checkpoint(folder: Path, shape: str, progress: StageProgress) -> Path:
    checkpoint = folder / shape
    if (checkpoint / "model.safetensors.index.json").exists():
        return checkpoint
    progress(f"write {shape}", 0.0)
    if shape == "1.5b":
        write_random(checkpoint, DREAM, shards=1)
    else:
        write_random_llada(checkpoint, SCALES[shape])
    progress(f"write {shape}", 1.0)
    return checkpoint
