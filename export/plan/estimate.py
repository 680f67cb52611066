"""The memory of one model, decode and target, phase by phase: building the engine, loading it, running it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...graphs.weight_formats import WeightFormat
from .decode import Decode, Steps, steps_of
from .devices import GB
from .memory import activations, new_rows, peak_cache, steady_cache
from .model import Precision, Subject, cpu_weights, embedding_bytes, folded_weights, stored_weights
from .target import Target

Phase = Literal["build", "load", "run"]

# Measured with TensorRT-RTX 1.7 without a GPU, two profiles: peak resident bytes of a build were 1.69 and 3.79 GB for 0.33 and
# 0.95 GB of bfloat16 weights (portable: 1% to 3% more), 1.59 GB for 0.22 GB of int8 and 1.25 GB for 0.17 GB of int4. Of each
# byte one is the mapped file, which can be dropped; but a build beside a GPU also needs copies there, to time kernels with,
# which nobody has measured here.
BUILD_FACTORS, BUILD_BASE = {"plain": 3.4, "int8": 4.4, "int4": 3.8}, 0.6 * GB
# In the same builds plans were 14 to 18 MB a profile larger than their weights, and those of int8 by a third of the weights.
PROFILE_BYTES = 18_000_000
PLAN_FACTORS = {"plain": 1.0, "int8": 1.32, "int4": 1.0}
# ONNX Runtime 1.31's CPU provider while it loads a bundle: of what it casts to float32, 2.4 and 2.6 times the result, measured
# with 0.54 and 1.7 GB; of the rest 1.2 to 1.5 times; of an embedding, which is mapped, nothing.
FOLDING, LOADING = 2.6, 1.3


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
    linear = precision.formats.linear.name
    plan = int(PLAN_FACTORS[linear] * stored) + PROFILE_BYTES * len(steps.profiles)
    weights = cpu_weights(config, precision) if target.cpu else plan if target.engine == "tensorrt" else stored
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
        build=peak_build_bytes(stored, precision.formats.linear) if target.engine == "tensorrt" else 0,
        load=target.runtime + (_cpu_load(subject, weights) if target.cpu else weights),
        limit=target.limit,
        build_limit=target.limit + target.swap if target.shared else None,
    )


def peak_build_bytes(stored: int, linear: WeightFormat) -> int:
    """The peak of a build by TensorRT of `stored` bytes of weights, those of the layers in the format `linear`."""
    return int(BUILD_BASE + BUILD_FACTORS[linear.name] * stored)


def _activations(subject: Subject, steps: Steps, target: Target) -> int:
    """Of the step that takes most, with its new keys and values; a refresh's lie in a cache."""
    config, compute = subject.config, target.compute(subject.precision.dtype)
    scores = target.scores(compute)
    unbound = [steps.full] if steps.block is None or steps.staged else []
    unbound += [] if steps.block is None else [steps.block]
    sizes = [activations(config, compute, steps.full, scores)]
    sizes += [activations(config, compute, step, scores) + new_rows(config, compute, step) for step in unbound]
    return max(sizes)


def _cpu_load(subject: Subject, weights: int) -> int:
    folded = folded_weights(subject.config, subject.precision)
    mapped = 0 if subject.config.tie_embeddings else embedding_bytes(subject.config, Precision("float32"))
    return int(FOLDING * folded + LOADING * (weights - folded - mapped))
