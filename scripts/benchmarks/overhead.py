"""What the host costs in block steps, alone and around the engine, and proof that such a step leaves the cache as it is."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from statistics import median

from ...graphs.contract import Profile
from ...runtime.bundle.bundle import Bundle
from ...runtime.engines.base import Lanes, StepOutputs
from ...runtime.engines.host import HostCache
from ...runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from ...runtime.evaluation.task import find_task
from ...runtime.generate import Model
from .finding import Finding, Part
from .host_cost import measure_host_cost
from .setup import Progress, Setup

GEN_LENGTH = 256
PROMPTS = 5
LARGEST_SHARE, LARGEST_MICROSECONDS = 5.0, 200.0


@dataclass(frozen=True)
class Run:
    """One step of the engine: when it began and ended (seconds), and whether it read a cache and kept nothing."""

    began: float
    ended: float
    block: bool


class ObservedEngine(OnnxRuntimeEngine):
    """Notes when each step ran and, where `hashed`, where the cache lay and what it held before and after."""

    hashed = False

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        super().__init__(bundle, threads)
        self.runs: list[Run] = []
        self.addresses: set[tuple[int, ...]] = set()
        self.changed = 0

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        before = self._look(cache)
        began = time.perf_counter()
        outputs = super().run(profile, cache, bind, keep_rows)
        self.runs.append(Run(began, time.perf_counter(), cache is not None and bind is None))
        self.changed += self._look(cache) != before
        return outputs

    def _look(self, lanes: Lanes | None) -> bytes:
        if not self.hashed or lanes is None:
            return b""
        assert isinstance(lanes.cache, HostCache)
        self.addresses.add(lanes.cache.address_and_shape)
        return hashlib.sha256(lanes.cache.tensors.data).digest()


def measure_overhead(setup: Setup, progress: Progress) -> Part:
    """Decode a few questions with the dual cache, one token a step; what lies between two block steps is the host's."""
    bundle = Bundle.open(setup.bundle)
    engine = ObservedEngine(bundle, setup.threads)
    model = Model(bundle, engine)
    prompts = [problem.question for problem in find_task("arithmetic").prompts(PROMPTS + 1)]
    _decode(model, prompts[0])
    engine.runs.clear()
    for index, prompt in enumerate(prompts[1:], 1):
        _decode(model, prompt)
        progress(index / len(prompts))
    pairs = [(one, two) for one, two in zip(engine.runs, engine.runs[1:], strict=False) if one.block and two.block]
    host = median(two.began - one.ended for one, two in pairs)
    inside = median(one.ended - one.began for one, _ in pairs)
    part = Part("overhead", "the host in block steps (fast-dllm-dual, 32 tokens a step)")
    part.findings = [
        Finding("engine, median of a step", inside, f"{inside * 1e6:.0f} us"),
        Finding.at_most("host, median of a step", host * 1e6, LARGEST_MICROSECONDS, " us"),
        Finding.at_most("its share of a step", 100 * host / (host + inside), LARGEST_SHARE, "%"),
        *_unmoved(model, engine, prompts[0]),
        *measure_host_cost(bundle.config),
    ]
    part.data = {"block_steps": len(pairs), "engine_seconds": inside, "host_seconds": host}
    return part


def _unmoved(model: Model, engine: ObservedEngine, prompt: str) -> list[Finding]:
    """Decode again, look at the cache around each block step, and return what moved or changed."""
    engine.hashed = True
    engine.runs.clear()
    _decode(model, prompt)
    steps = sum(run.block for run in engine.runs)
    addresses, changed = len(engine.addresses), engine.changed
    return [
        Finding("addresses of the cache in memory", addresses, f"{addresses} in {steps} block steps", "1", addresses == 1),
        Finding("block steps that changed the cache", changed, f"{changed} of {steps}", "0", changed == 0),
    ]


def _decode(model: Model, prompt: str) -> None:
    model.generate(prompt, system="fast-dllm-dual", unmask="quota", early_stop=False, gen_length=GEN_LENGTH)
