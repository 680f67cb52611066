"""The memory that a scenario takes, phase by phase: building the engine, loading it, running it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...graphs.contract import cache_bytes
from ...graphs.weight_formats import WeightFormat
from .activations import activation_bytes, new_row_bytes
from .devices import GB
from .model import Precision
from .scenario import Scenario
from .steps import Steps, steps_of
from .weights import cpu_weight_bytes, embedding_bytes, folded_weight_bytes, stored_weight_bytes

Phase = Literal["build", "load", "run"]

# Measured with TensorRT-RTX 1.7 without a GPU, two profiles: peak resident bytes of a build were 1.69 and 3.79 GB for 0.33 and
# 0.95 GB of bfloat16 weights (portable: 1% to 3% more), 1.59 GB for 0.22 GB of int8 and 1.25 GB for 0.17 GB of int4. Of each
# byte one is the mapped file, which can be dropped; but a build beside a GPU also needs copies there, to time kernels with,
# which nobody has measured here.
BUILD_FACTORS, BUILD_BASE = {"plain": 3.4, "int8": 4.4, "int4": 3.8}, 0.6 * GB
# In the same builds engine files were 14 to 18 MB a profile larger than their weights, and those of int8 by a third of these.
PROFILE_BYTES = 18_000_000
ENGINE_FACTORS = {"plain": 1.0, "int8": 1.32, "int4": 1.0}
# ONNX Runtime 1.31's CPU provider while it loads a bundle: of what it casts to float32, 2.4 and 2.6 times the result, measured
# with 0.54 and 1.7 GB; of the rest 1.2 to 1.5 times; of an embedding, which is mapped, nothing.
FOLDING, LOADING = 2.6, 1.3


@dataclass(frozen=True)
class PhaseMemory:
    """The bytes that a phase needs, and those that it may fill."""

    phase: Phase
    needed_bytes: int
    limit_bytes: int

    @property
    def share(self) -> float:
        """What is needed, as a share of the limit, which is not 0."""
        return self.needed_bytes / self.limit_bytes


@dataclass(frozen=True)
class Estimate:
    """What a scenario takes: `stored_weight_bytes` are the weights in the bundle, `weight_bytes` what they take in memory."""

    scenario: Scenario
    steps: Steps
    stored_weight_bytes: int
    weight_bytes: int
    steady_cache_bytes: int
    peak_cache_bytes: int
    activation_bytes: int
    runtime_bytes: int
    build_bytes: int
    load_bytes: int

    @property
    def run_bytes(self) -> int:
        """Bytes while it decodes."""
        return self.weight_bytes + self.peak_cache_bytes + self.activation_bytes + self.runtime_bytes

    @property
    def profile_bytes(self) -> int:
        """Bytes of `weight_bytes` that are no weights: what an engine file holds for each of its profiles."""
        return PROFILE_BYTES * len(self.steps.profiles) if self.scenario.target.engine == "tensorrt" else 0

    @property
    def swap_bytes(self) -> int:
        """Bytes of swap that a build fills, of those that it may."""
        target = self.scenario.target
        beyond = self.build_bytes - target.limit_bytes if target.shares_memory else 0
        return min(max(0, beyond), target.swap_bytes)

    @property
    def phases(self) -> list[PhaseMemory]:
        """The phases in their order; no build where none is needed, or where it takes a host's memory that is not known."""
        target = self.scenario.target
        phases = [
            PhaseMemory("load", self.load_bytes, target.limit_bytes),
            PhaseMemory("run", self.run_bytes, target.limit_bytes),
        ]
        if self.build_bytes and target.build_limit_bytes is not None:
            phases.insert(0, PhaseMemory("build", self.build_bytes, target.build_limit_bytes))
        return phases

    @property
    def missing_bytes(self) -> dict[Phase, int]:
        """By phase that does not fit, the bytes that are missing."""
        return {each.phase: missing for each in self.phases if (missing := each.needed_bytes - each.limit_bytes) > 0}

    @property
    def fits(self) -> bool:
        """Whether every phase does."""
        return not self.missing_bytes


def estimate(scenario: Scenario) -> Estimate:
    """Estimate the memory of a scenario; raises `DllmEdgeError` for a decode that does not fit the model."""
    config, precision, target = scenario.model.config, scenario.model.precision, scenario.target
    steps = steps_of(config, scenario.decode)
    stored, weights = stored_weight_bytes(config, precision), _weight_bytes(scenario, steps)
    return Estimate(
        scenario=scenario,
        steps=steps,
        stored_weight_bytes=stored,
        weight_bytes=weights,
        steady_cache_bytes=cache_bytes(config, scenario.compute_dtype, steps.steady_slots),
        peak_cache_bytes=cache_bytes(config, scenario.compute_dtype, steps.peak_slots),
        activation_bytes=max(_step_bytes(scenario, steps)),
        runtime_bytes=target.runtime_bytes,
        build_bytes=peak_build_bytes(stored, precision.formats.linear) if target.engine == "tensorrt" else 0,
        load_bytes=target.runtime_bytes + (_cpu_load_bytes(scenario, weights) if target.cpu else weights),
    )


def peak_build_bytes(stored_bytes: int, linear: WeightFormat) -> int:
    """Return the peak of a build by TensorRT of so many bytes of weights, those of the layers in the format `linear`."""
    return int(BUILD_BASE + BUILD_FACTORS[linear.name] * stored_bytes)


def _weight_bytes(scenario: Scenario, steps: Steps) -> int:
    """Return the bytes of the weights in memory: with TensorRT those of the engine file that they are in."""
    config, precision, target = scenario.model.config, scenario.model.precision, scenario.target
    if target.cpu:
        return cpu_weight_bytes(config, precision)
    stored = stored_weight_bytes(config, precision)
    if target.engine == "tensorrt":
        return int(ENGINE_FACTORS[precision.formats.linear.name] * stored) + PROFILE_BYTES * len(steps.profiles)
    return stored


def _step_bytes(scenario: Scenario, steps: Steps) -> list[int]:
    """Return the bytes of each profile's values, with its new keys and values where they do not lie in a cache."""
    config, dtype = scenario.model.config, scenario.compute_dtype
    scores = scenario.target.score_arrays(dtype)
    unbound = {profile: new_row_bytes(config, dtype, profile) for profile in steps.unbound}
    return [activation_bytes(config, dtype, profile, scores) + unbound.get(profile, 0) for profile in steps.profiles]


def _cpu_load_bytes(scenario: Scenario, weights: int) -> int:
    """Return the peak of ONNX Runtime's CPU provider while it loads what will be `weights` bytes."""
    config = scenario.model.config
    folded = folded_weight_bytes(config, scenario.model.precision)
    mapped = 0 if config.tie_embeddings else embedding_bytes(config, Precision("float32"))
    return int(FOLDING * folded + LOADING * (weights - folded - mapped))
