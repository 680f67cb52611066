"""What outcomes depend on beside the decode itself: the bundle, the engine, the machine and this package's own code."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from pathlib import Path
from typing import Any

from ..engines.cores import usable_cores
from ..generate import Model

PACKAGE = Path(__file__).parents[2]
DECODING_FOLDERS = ("graphs", "runtime")


def conditions_of(model: Model, threads: int) -> dict[str, Any]:
    """Return what has to be equal for an outcome, its seconds too, to be taken for that of a decode now."""
    engine = model.engine
    return {
        "bundle": model.bundle.manifest.sha256,
        "guide": model.guide and model.guide.bundle.manifest.sha256,
        "engine": [engine.name, engine.cache_dtype, dict(engine.versions), threads],
        "machine": [platform.node(), platform.machine(), usable_cores()],
        "code": source_sha256(),
    }


@cache
def source_sha256() -> str:
    """Return a SHA-256, in hexadecimal, over the source of all that decodes."""
    digest = hashlib.sha256()
    for file in sorted(file for folder in DECODING_FOLDERS for file in (PACKAGE / folder).rglob("*.py")):
        digest.update(f"{file.relative_to(PACKAGE)} {file.stat().st_size}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
