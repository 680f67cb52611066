"""Where the demo's bundle lies, which the command line exports on first use."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ...graphs.errors import DllmEdgeError
from .cache_folder import cache_folder

DEMO = "demo"
"""The word that names it, on the command line and for `load`; the folder of that name is `./demo`."""
PACKAGE = Path(__file__).parents[2]
CHECKPOINT = PACKAGE / "demo" / "checkpoint"


def demo_path(checkpoint: Path = CHECKPOINT) -> Path:
    """Return where the bundle belongs that this version makes of the demo's checkpoint as it is now."""
    if not checkpoint.is_dir():
        raise DllmEdgeError(f"{checkpoint}: the demo's checkpoint is missing: install dllm-edge again")
    digest = hashlib.sha256()
    sources = [file for part in ("graphs", "export") for file in (PACKAGE / part).rglob("*.py")]
    for file in sorted([*(file for file in checkpoint.iterdir() if file.is_file()), *sources]):
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        digest.update(file.read_bytes())
    return cache_folder() / f"demo-{digest.hexdigest()[:12]}"


def exported_demo() -> Path:
    """Return the folder of the demo's bundle; raises `DllmEdgeError` where this version has not exported it yet."""
    path = demo_path()
    if not path.is_dir():
        raise DllmEdgeError("the demo's bundle is not there yet: make it with 'dllm-edge info demo'")
    return path
