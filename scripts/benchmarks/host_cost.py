"""What the host costs in a block step, with an engine that computes nothing: its time, and the arrays that it copies."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from statistics import mean, median

from ...graphs.config import ModelConfig
from ...graphs.contract import Profile
from ...runtime.decoding.canvas import Canvas
from ...runtime.decoding.settings import Settings
from ...runtime.engines.base import Lanes, StepOutputs
from ...runtime.scheduler.request import Request
from ...runtime.scheduler.scheduler import Scheduler
from ...runtime.systems import find_system
from .finding import Finding
from .idle_engine import CountingEngine, IdleEngine

SYSTEM, RULES = "fast-dllm-dual", ("quota", "threshold")
PROMPT, GEN_LENGTH = 45, 256
ROUNDS = 6
LARGEST_MICROSECONDS = 84.0


def measure_host_cost(config: ModelConfig) -> list[Finding]:
    """Return time, copies and memory of the block steps of one sequence."""
    findings = [
        Finding.at_most(f"host alone, {rule}, median of a step", host_microseconds(config, rule), LARGEST_MICROSECONDS, " us")
        for rule in RULES
    ]
    return [*findings, _rewriting(config), *_copies(config), _memory(config)]


def host_microseconds(config: ModelConfig, rule: str, rewrite: bool = False) -> float:
    """Return the median of what lies between two block steps."""
    engine = IdleEngine(config, rewrite)
    for _ in range(ROUNDS):
        decode(engine, rule)
    return median(engine.gaps) * 1e6


def _rewriting(config: ModelConfig) -> Finding:
    """Return how much longer a step takes whose inputs are all written again; the two alternate."""
    ratios = [host_microseconds(config, RULES[0], rewrite=True) / host_microseconds(config, RULES[0]) for _ in range(5)]
    return Finding("the same, with all inputs written again", median(ratios), f"{median(ratios):.2f}x")


def _copies(config: ModelConfig) -> list[Finding]:
    engine = CountingEngine(config)
    decode(engine, RULES[0])
    findings = []
    for name, log in (("written to inputs", engine.written), ("copied from outputs", engine.copied)):
        usual = Counter((copies.count, copies.nbytes) for copies in log).most_common(1)[0][0]
        average = mean(copies.nbytes for copies in log)
        findings.append(Finding(f"arrays {name}", usual[0], f"{usual[0]}, {usual[1]} bytes (mean {average:.0f})"))
    return findings


def _memory(config: ModelConfig) -> Finding:
    """Return the most that is allocated between two forwards beyond what was there."""
    engine = _TracedEngine(config)
    decode(engine, RULES[0])
    tracemalloc.start()
    try:
        decode(engine, RULES[0])
    finally:
        tracemalloc.stop()
    peak = median(engine.peaks)
    return Finding("memory that a step allocates, at its peak", peak, f"{peak:.0f} bytes")


class _TracedEngine(IdleEngine):
    """Notes the peak of traced memory since the last forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.peaks: list[int] = []
        self._before = 0

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        now, peak = tracemalloc.get_traced_memory()
        if tracemalloc.is_tracing():
            self.peaks.append(peak - self._before)
            tracemalloc.reset_peak()
            self._before = now
        return super().run(profile, cache, bind, keep_rows)


def decode(engine: IdleEngine, rule: str) -> None:
    """Decode one sequence."""
    token = next(token for token in range(engine.config.vocab_size) if token != engine.config.mask_token_id)
    canvas = Canvas.from_prompt([token] * PROMPT, GEN_LENGTH, engine.config)
    settings = Settings(gen_length=GEN_LENGTH, unmask=rule, early_stop=False)
    for _ in Scheduler(engine).run([Request(canvas, find_system(SYSTEM), settings)]):
        pass
