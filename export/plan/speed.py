"""The roofline of a decode: how many steps a device can do if it does nothing but move bytes, or nothing but multiply."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from ...graphs.config import ModelConfig
from ...graphs.contract import Profile, cache_bytes
from .estimate import Estimate
from .model import Precision, parameters, read_weights
from .target import Target


@dataclass(frozen=True)
class StepTime:
    """Least seconds of one step: to read its weights and cache, and to multiply (None where no rate is known)."""

    reading: float
    multiplying: float | None

    @property
    def seconds(self) -> float:
        return max(self.reading, self.multiplying or 0.0)

    @property
    def compute_bound(self) -> bool:
        return self.multiplying is not None and self.multiplying > self.reading


@dataclass(frozen=True)
class Speed:
    """Upper bounds. `block` is a step between refreshes (None: every step sends the whole canvas)."""

    full: StepTime
    block: StepTime | None
    estimate: Estimate

    @property
    def steps_per_second(self) -> float:
        """Of the steps that a decode has most of."""
        return 1.0 / (self.block or self.full).seconds

    def tokens_per_second(self, tokens_per_forward: float) -> float:
        """Over whole blocks with their refreshes, which run one sequence at a time; all of a batch's sequences together."""
        decode, steps = self.estimate.decode, self.estimate.steps
        length = decode.settings().block
        forwards = max(1, ceil(length / tokens_per_forward))
        if self.block is None or steps.full_steps is None:
            return decode.batch * length / (forwards * self.full.seconds)
        full = min(steps.full_steps, forwards)
        seconds = decode.batch * full * self.full.seconds + (forwards - full) * self.block.seconds
        return decode.batch * length / seconds


def speed(config: ModelConfig, found: Estimate, target: Target) -> Speed | None:
    """None where no bandwidth is known."""
    if target.device.bandwidth is None:
        return None
    block = found.steps.block
    return Speed(
        full=_step(config, found, target, found.steps.full, found.steps.full.queries),
        block=None if block is None else _step(config, found, target, block, found.steps.mean_queries),
        estimate=found,
    )


def _step(config: ModelConfig, found: Estimate, target: Target, profile: Profile, queries: float) -> StepTime:
    compute, device = target.compute(found.precision.dtype), target.device
    assert device.bandwidth is not None
    # On a CPU plain weights lie in float32.
    weights = read_weights(config, Precision("float32", found.precision.formats) if target.cpu else found.precision)
    read = weights + profile.batch * cache_bytes(config, compute, profile.capacity)
    return StepTime(read / device.bandwidth, None if device.flops is None else _flops(config, profile, queries) / device.flops)


def _flops(config: ModelConfig, profile: Profile, queries: float) -> float:
    """Two operations a weight and row in layers and head; scores and values over every visible slot."""
    layers = 2 * parameters(config) * queries
    attention = 4 * config.layers * config.heads * config.head_dim * queries * (profile.capacity + queries)
    head = 2 * profile.rows * config.vocab_size * config.hidden_size
    return profile.batch * (layers + attention + head)
