"""A few steps of a decode in a process of its own, and what it had in memory at most; imports the runtime alone.

python -m dllm_edge.scripts.benchmarks.decode_once BUNDLE SLOTS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ...runtime.generate import load

GEN_LENGTH, FORWARDS = 32, 4


def decode_once(bundle: str, slots: int) -> tuple[int, int]:
    """Return this process' peak resident bytes after a refresh and block steps over `slots` slots, and its caches' bytes."""
    prompt = [index % 100 for index in range(slots - GEN_LENGTH)]
    model = load(bundle)
    result = model.generate(
        prompt, system="fast-dllm-dual", unmask="quota", gen_length=GEN_LENGTH, max_steps=FORWARDS, early_stop=False
    )
    return peak_resident(), result.peak_cache_bytes


def peak_resident() -> int:
    """Return bytes. Not from `getrusage`, whose maximum a process inherits from the one that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    print(json.dumps(decode_once(sys.argv[1], int(sys.argv[2]))))
