"""The engines that the tests build: a few that hold every pair of what varies, and all."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.engines.profiles import Workload

from .pairwise import pairwise

FAMILIES = ("llada", "dream", "fast-dllm-v2", "sdar", "llama")
FLAVOURS = ("fused", "portable")


@dataclass(frozen=True)
class Format:
    """How weights are stored, by `export_bundle`'s names; `dtype` is what is computed in."""

    dtype: str
    layers: str = "plain"
    head: str = "plain"
    embedding: str = "plain"
    group: int = 32


# No more than keep `FEW` at 30: each format of layers, head and embedding, each size of groups and each dtype is in one.
FORMATS = {
    "float32": Format("float32"),
    "float16": Format("float16"),
    "bfloat16": Format("bfloat16"),
    "int4": Format("bfloat16", "int4"),
    "int8": Format("float16", "int8", "int8", "int8", 64),
    "int8-int4": Format("bfloat16", "int8", "int4", "int8", 128),
}
TARGETS = ("sm80", "sm86", "sm89", "sm120")
WORKLOADS = {
    "single": Workload((Profile(1, 8, 24, 8),)),
    "refreshed": Workload((Profile(1, 8, 24, 8), Profile(1, 8, 16, 8), Profile(1, 32, 1, 8)), (32,), ((32, 24), (32, 16))),
    "batched": Workload((Profile(1, 24, 1, 8), Profile(2, 8, 24, 8), Profile(4, 8, 24, 8))),
}
AXES = [FAMILIES, FLAVOURS, tuple(FORMATS), TARGETS, tuple(WORKLOADS)]
FEW = pairwise(AXES)
EVERY = list(product(*AXES))
