"""One export in a process of its own, so that nothing else is in what is measured: the seconds of each stage.

python -m dllm_edge.scripts.benchmarks.export_once CHECKPOINT BUNDLE link|write
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from ...export.bundle import export_bundle


def export_once(checkpoint: Path, bundle: Path, link: bool) -> dict[str, float]:
    """Export a checkpoint, hard-linked or written again; return the seconds of `weights` and `graphs`."""
    started = time.perf_counter()
    seconds: dict[str, float] = {}

    def progress(stage: str, share: float) -> None:
        if share == 1:
            seconds[stage] = time.perf_counter() - started - sum(seconds.values())

    export_bundle(checkpoint, bundle, link=link, progress=progress)
    return seconds


if __name__ == "__main__":
    print(json.dumps(export_once(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "link")))
