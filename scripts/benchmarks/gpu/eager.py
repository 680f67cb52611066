"""The same torch module on the GPU, in eager mode and under `torch.compile`."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from ....graphs.config import ModelConfig
from ....graphs.dtypes import DType
from ....graphs.errors import DllmEdgeError
from .steps import block_profile

WARM_UP, ROUNDS = 5, 50
CUDA_TORCH = "install a torch with CUDA to compare with it"


def check_torch() -> None:
    """Raise unless torch is there and sees a GPU."""
    try:
        import torch
    except ImportError as error:
        raise DllmEdgeError(f"torch is not installed: {CUDA_TORCH}") from error
    if not torch.cuda.is_available():
        raise DllmEdgeError(f"torch {torch.__version__} sees no GPU: {CUDA_TORCH}")


def time_torch(
    config: ModelConfig,
    compute: DType,
    contexts: tuple[int, ...],
    compiled: bool,
    device: str = "cuda",
    warm_up: int = WARM_UP,
    rounds: int = ROUNDS,
) -> list[dict[str, Any]]:
    """Return a row for each context: median seconds of a step, from launch to the last kernel's end."""
    from ....export.parity.random_step import repeated_step

    rows = []
    for context in contexts:
        step = repeated_step(config, compute, device, block_profile(context), compiled)
        seconds = []
        for _ in range(warm_up + rounds):
            started = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - started)
        rows.append({"context": context, "compiled": compiled, "seconds": median(seconds[warm_up:]), "rounds": rounds})
    return rows
