"""One step of ONNX Runtime on the CPU against the same torch module in eager mode."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median

import numpy as np
import torch

from ...export.parity.reference import reference_step
from ...export.parity.torch_engine import TorchEngine
from ...graphs.contract import Profile
from ...runtime.bundle.bundle import Bundle
from ...runtime.engines.base import Engine, Lanes
from ...runtime.engines.host import HostCache
from ...runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from .finding import Finding, Part
from .setup import Progress, Setup, within

QUERIES, CAPACITIES = 32, (256, 1024)
WARM_UP, ROUNDS = 3, 15
LEAST_RATIO = 1.8


def measure_step(setup: Setup, progress: Progress) -> Part:
    """Run every engine once a round; the faster of torch's two attentions is what ONNX Runtime is held against."""
    if setup.threads:
        torch.set_num_threads(setup.threads)
    engines = _engines(setup.shaped, setup.threads)
    part = Part("step", f"one step of {QUERIES} tokens, 135M shape, float32, median of {ROUNDS} interleaved rounds")
    part.data["seconds"] = {}
    for index, capacity in enumerate(CAPACITIES):
        profile = Profile(1, QUERIES, capacity, QUERIES)
        seconds = _medians(engines, profile, within(progress, index, len(CAPACITIES)))
        part.data["seconds"][str(capacity)] = seconds
        part.findings += [
            Finding(f"{name}, {capacity} cached", value, f"{value * 1e3:.1f} ms") for name, value in seconds.items()
        ]
        eager = min(value for name, value in seconds.items() if name.startswith("torch"))
        ratio = eager / next(value for name, value in seconds.items() if name.startswith("onnxruntime"))
        part.findings.append(Finding.at_least(f"faster than torch, {capacity} cached", ratio, LEAST_RATIO))
    return part


def _engines(bundle: Bundle, threads: int) -> dict[str, Engine]:
    chosen = OnnxRuntimeEngine(bundle, threads)
    return {
        f"onnxruntime, {chosen.flavour}": chosen,
        "torch, fused": TorchEngine(reference_step(bundle, flavour="fused")),
        "torch, portable": TorchEngine(reference_step(bundle, flavour="portable")),
    }


def _medians(engines: Mapping[str, Engine], profile: Profile, progress: Progress) -> dict[str, float]:
    caches = {name: filled(engine, profile) for name, engine in engines.items()}
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(WARM_UP + ROUNDS):
        for name, engine in engines.items():
            started = time.perf_counter()
            engine.run(profile, caches[name])
            seconds[name].append(time.perf_counter() - started)
        progress((turn + 1) / (WARM_UP + ROUNDS))
    return {name: median(times[WARM_UP:]) for name, times in seconds.items()}


def filled(engine: Engine, profile: Profile) -> Lanes:
    """Write the inputs, and return a cache of noise: the last step of a canvas whose other slots are all visible."""
    generator = np.random.default_rng(0)
    cache = engine.allocate(1, profile.capacity, bound=False, read=True)
    assert isinstance(cache, HostCache)
    cache.tensors[:] = generator.standard_normal(cache.tensors.shape, dtype=np.float32) * np.float32(0.5)
    inputs = engine.inputs(profile)
    inputs.input_ids[:] = generator.integers(0, 1000, inputs.input_ids.shape)
    inputs.position_ids[:] = profile.capacity + np.arange(profile.queries)
    inputs.attention_mask[:] = True
    inputs.logit_rows[:] = np.arange(profile.rows)
    return Lanes(cache, 0, 1)
