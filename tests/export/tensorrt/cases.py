"""The engines that the tests build: a few that hold every pair of what varies, and all."""

from __future__ import annotations

from itertools import product

from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.engines.profiles import Workload

from ..step_bundles import FAMILIES, FLAVOURS, FORMATS
from .pairwise import pairwise

TARGETS = ("sm80", "sm86", "sm89", "sm120")
WORKLOADS = {
    "single": Workload((Profile(1, 8, 24, 8),)),
    "refreshed": Workload((Profile(1, 8, 24, 8), Profile(1, 8, 16, 8), Profile(1, 32, 1, 8)), (32,), ((32, 24), (32, 16))),
    "batched": Workload((Profile(1, 24, 1, 8), Profile(2, 8, 24, 8), Profile(4, 8, 24, 8))),
}
AXES = [FAMILIES, FLAVOURS, tuple(FORMATS), TARGETS, tuple(WORKLOADS)]
FEW = pairwise(AXES)
EVERY = list(product(*AXES))
