"""The memory of one model, decode and target, phase by phase: building the engine, loading it, running it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .decode import Decode, Steps, steps_of
from .devices import GB
from .memory import activations, new_rows, peak_cache, steady_cache
from .subject import Precision, Subject, float32_weights, stored_weights
from .target import Target

Phase = Literal["build", "load", "run"]

# Measured with TensorRT-RTX 1.7 without a GPU, bfloat16, two profiles: peak resident bytes of a build were 1.69 and 3.79 GB for
# 0.33 and 0.95 GB of weights (portable: 1% to 3% more): 3.4 a byte of weights and 0.6 GB. Of the 3.4, one is the mapped file,
# which can be dropped; but a build beside a GPU also needs copies there, to time kernels with, which nobody has measured here.
BUILD_FACTOR, BUILD_BASE = 3.4, 0.6 * GB
# In the same builds, of two and of six profiles, a plan was 14 to 18 MB a profile larger than its weights.
PROFILE_BYTES = 18_000_000
# While ONNX Runtime 1.31 folds the casts of a bundle that is not float32, over its weights in float32: 2.0 and 2.3 measured
# with 0.65 and 1.9 GB of them. Of float32 bundles: 1.1.
FOLDING, LOADING = 2.3, 1.1


@dataclass(frozen=True)
class Estimate:
    """Bytes. `stored` are the weights in the bundle, `weights` what they take in memory. Builds take the device's memory where
    it is the host's, too; else that of a host whose `build_limit` is not known."""

    precision: Precision
    decode: Decode
    steps: Steps
    stored: int
    weights: int
    steady_cache: int
    peak_cache: int
    activations: int
    runtime: int
    build: int
    load: int
    limit: int
    build_limit: int | None

    @property
    def run(self) -> int:
        return self.weights + self.peak_cache + self.activations + self.runtime

    @property
    def over(self) -> dict[Phase, int]:
        """By phase that does not fit, the bytes that are missing."""
        wanted: dict[Phase, tuple[int, int | None]] = {
            "build": (self.build, self.build_limit),
            "load": (self.load, self.limit),
            "run": (self.run, self.limit),
        }
        return {phase: need - limit for phase, (need, limit) in wanted.items() if limit is not None and need > limit}

    @property
    def fits(self) -> bool:
        return not self.over


def estimate(subject: Subject, decode: Decode, target: Target) -> Estimate:
    config, precision = subject.config, subject.precision
    compute, steps = target.compute(precision.dtype), steps_of(config, decode)
    stored = stored_weights(config, precision)
    kernels = PROFILE_BYTES * len(steps.profiles) if target.engine == "tensorrt" else 0
    weights = float32_weights(config) if target.cpu else stored + kernels
    return Estimate(
        precision=precision,
        decode=decode,
        steps=steps,
        stored=stored,
        weights=weights,
        steady_cache=steady_cache(config, compute, steps, decode.batch),
        peak_cache=peak_cache(config, compute, steps, decode.batch),
        activations=_activations(subject, steps, target),
        runtime=target.runtime,
        build=int(BUILD_BASE + BUILD_FACTOR * stored) if target.engine == "tensorrt" else 0,
        load=_load(stored, weights, precision, target),
        limit=target.limit,
        build_limit=target.limit + target.swap if target.shared else None,
    )


def _activations(subject: Subject, steps: Steps, target: Target) -> int:
    """Of the step that takes most; a refresh's keys and values lie in a cache, other steps' are beside it."""
    compute = target.compute(subject.precision.dtype)
    scores = target.scores(compute)
    sizes = [activations(subject.config, compute, steps.full, scores)]
    if steps.block is None or steps.staged:
        sizes[0] += new_rows(subject.config, compute, steps.full)
    if steps.block is not None:
        sizes.append(activations(subject.config, compute, steps.block, scores) + new_rows(subject.config, compute, steps.block))
    return max(sizes)


def _load(stored: int, weights: int, precision: Precision, target: Target) -> int:
    """Peak while an engine is opened: folding on a CPU; in shared memory the plan's file beside the weights."""
    if target.cpu:
        plain = precision.dtype == "float32" and not precision.formats.quantised
        return target.runtime + int(weights * (LOADING if plain else FOLDING))
    return target.runtime + weights + (weights if target.shared and target.engine == "tensorrt" else 0)
