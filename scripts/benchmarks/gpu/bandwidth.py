"""What the GPU's memory gives, measured by copies within it, and the share of it that a step takes."""

from __future__ import annotations

import time
from math import prod
from statistics import median

from ....graphs import contract
from ....graphs.config import ModelConfig
from ....graphs.contract import Profile
from ....graphs.dtypes import DTYPES, DType
from ....graphs.errors import DllmEdgeError
from ....graphs.parameters import EMBEDDING, parameter_count, parameter_shapes
from ....runtime.engines.device.cuda import CudaDevice

# Far beyond any cache on a GPU. Enough copies that waiting for the last of them does not count.
NBYTES, COPIES, ROUNDS = 512 << 20, 20, 5


def copy_bandwidth(device: CudaDevice, nbytes: int = NBYTES, copies: int = COPIES, rounds: int = ROUNDS) -> float:
    """Return the bytes read and written a second: the median of a few rounds of copies, after one that is not counted."""
    source, target = device.allocate(nbytes), device.allocate(nbytes)
    direction = device.cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
    seconds = []
    for _ in range(rounds + 1):
        device.synchronise()
        started = time.perf_counter()
        for _ in range(copies):
            (error,) = device.cuda.cudaMemcpyAsync(target.address, source.address, nbytes, direction, device.stream)
            if error != device.cuda.cudaError_t.cudaSuccess:
                raise DllmEdgeError(f"CUDA: copying within the GPU failed with {error.name}: see 'dllm-edge doctor'")
        device.synchronise()
        seconds.append(time.perf_counter() - started)
    return 2 * nbytes * copies / median(seconds[1:])


def step_bytes(config: ModelConfig, compute: DType, profile: Profile) -> int:
    """Return the bytes that a step reads and writes: every weight once (of an embedding that is no LM head, its rows), and the
    cache with the step's own rows three times: read and written to be put together, and read so by attention."""
    shapes = parameter_shapes(config)
    weights = parameter_count(shapes)
    if not config.tie_embeddings:
        weights -= prod(shapes[EMBEDDING]) - profile.batch * profile.queries * config.hidden_size
    slots = profile.batch * (profile.capacity + profile.queries)
    return DTYPES[compute].nbytes(weights) + 3 * contract.cache_bytes(config, compute, slots)


def share(nbytes: int, seconds: float, bandwidth: float) -> float:
    """Return the share of the bandwidth (bytes a second) that moving `nbytes` in those seconds takes."""
    return nbytes / seconds / bandwidth


def measure_bandwidth() -> dict[str, float]:
    return {"copy_bandwidth": copy_bandwidth(CudaDevice())}
