"""One engine build in a process of its own, and what it took; imports neither torch nor onnx.

python -m dllm_edge.scripts.benchmarks.build_once BUNDLE TARGET CONTEXT
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from ...export.tensorrt.build import build_engine
from ...export.tensorrt.compilation import Compilation
from ...export.tensorrt.options import BuildOptions
from ...graphs.contract import Profile
from ...runtime.bundle.bundle import Bundle
from ...runtime.engines.profiles import Workload
from ...runtime.engines.tensorrt.library import find_library
from .decode_once import peak_resident

BLOCK = 32


def build_once(bundle: str, target: str, context: int) -> dict[str, float]:
    """Return seconds, peak resident bytes and engine files' bytes of a build for a block step and a refresh."""
    workload = Workload((Profile(1, BLOCK, context, BLOCK), Profile(1, context, 1, BLOCK)))
    opened, library = Bundle.open(Path(bundle)), find_library("tensorrt-rtx")
    started = time.perf_counter()
    built = build_engine(Compilation(opened, library, (target,), BuildOptions()), workload)
    seconds = time.perf_counter() - started
    plans = sum(record.size for record in built.engine.fingerprint.plans.values())
    return {"seconds": seconds, "peak_resident_bytes": peak_resident(), "plan_bytes": plans}


if __name__ == "__main__":
    print(json.dumps(build_once(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
