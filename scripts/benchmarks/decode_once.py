"""A few steps of a decode in a process of its own, and what it had in memory at most; imports the runtime alone.

python -m dllm_edge.scripts.benchmarks.decode_once BUNDLE SLOTS
"""

from __future__ import annotations

import json
import resource
import sys

from ...runtime.generate import load

GEN_LENGTH, FORWARDS = 32, 4


def decode_once(bundle: str, slots: int) -> tuple[int, int]:
    """Peak resident bytes of this process after a refresh and block steps over `slots` slots, and its caches' bytes."""
    prompt = [index % 1000 for index in range(slots - GEN_LENGTH)]
    model = load(bundle)
    result = model.generate(
        prompt, system="fast-dllm-dual", unmask="quota", gen_length=GEN_LENGTH, max_steps=FORWARDS, early_stop=False
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return peak, result.peak_cache_bytes


if __name__ == "__main__":
    print(json.dumps(decode_once(sys.argv[1], int(sys.argv[2]))))
