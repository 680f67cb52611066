"""The engines that the tests build: a few that hold every pair of what varies, and all."""

from __future__ import annotations

from itertools import product

from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.profiles import Workload

from .pairwise import pairwise

FAMILIES = ("llada", "dream", "fast-dllm-v2", "sdar", "llama")
FLAVOURS = ("fused", "portable")
# How weights are stored, and the type that is computed in where that is another.
FORMATS = {"float32": "float32", "float16": "float16", "bfloat16": "bfloat16", "int8": "float16", "int4": "bfloat16"}
TARGETS = ("sm80", "sm86", "sm89", "sm120")
WORKLOADS = {
    "single": Workload((Profile(1, 8, 24, 8),)),
    "refreshed": Workload((Profile(1, 8, 24, 8), Profile(1, 8, 16, 8), Profile(1, 32, 1, 8)), (32,), ((32, 24), (32, 16))),
    "batched": Workload((Profile(1, 24, 1, 8), Profile(2, 8, 24, 8), Profile(4, 8, 24, 8))),
}
AXES = [FAMILIES, FLAVOURS, tuple(FORMATS), TARGETS, tuple(WORKLOADS)]
FEW = pairwise(AXES)
EVERY = list(product(*AXES))
