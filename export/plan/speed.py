"""The roofline of a decode: how many steps a device can do if it does nothing but move bytes, or nothing but multiply."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from ...graphs.config import ModelConfig
from ...graphs.contract import Profile, cache_bytes
from .estimate import Estimate
from .model import Precision
from .scenario import Scenario
from .weights import layer_parameters, read_weight_bytes


@dataclass(frozen=True)
class StepTime:
    """Least seconds of one step: to read its weights and cache, and to multiply (None where no rate is known)."""

    reading_seconds: float
    multiplying_seconds: float | None

    @property
    def seconds(self) -> float:
        """The longer of the two."""
        return max(self.reading_seconds, self.multiplying_seconds or 0.0)

    @property
    def compute_bound(self) -> bool:
        """Whether multiplying takes longer than reading."""
        return self.multiplying_seconds is not None and self.multiplying_seconds > self.reading_seconds


@dataclass(frozen=True)
class Speed:
    """Upper bounds. `block` is a step between refreshes (None: every step sends the whole canvas)."""

    full: StepTime
    block: StepTime | None
    estimate: Estimate

    @property
    def most_frequent(self) -> StepTime:
        """The step that a decode has most of."""
        return self.block or self.full

    @property
    def steps_per_second(self) -> float:
        """How many of the most frequent steps run in a second."""
        return 1.0 / self.most_frequent.seconds

    def tokens_per_second(self, tokens_per_forward: float) -> float:
        """Return the tokens of all sequences together, over whole blocks with their refreshes.

        A refresh is of as many sequences as share one: it runs as often as their batch needs.
        """
        decode, steps = self.estimate.scenario.decode, self.estimate.steps
        forwards = max(1, ceil(decode.block / tokens_per_forward))
        full_steps = steps.full_steps_of(forwards)
        seconds = ceil(decode.batch / steps.full.batch) * full_steps * self.full.seconds
        if self.block is not None:
            seconds += (forwards - full_steps) * self.block.seconds
        return decode.batch * decode.block / seconds


def speed(estimate: Estimate) -> Speed | None:
    """Return the speed of what was estimated; None where no bandwidth is known."""
    bandwidth, steps = estimate.scenario.target.device.bandwidth, estimate.steps
    if bandwidth is None:
        return None
    return Speed(
        full=_step_time(estimate.scenario, bandwidth, steps.full, steps.full_queries),
        block=None if steps.block is None else _step_time(estimate.scenario, bandwidth, steps.block, steps.mean_queries),
        estimate=estimate,
    )


def _step_time(scenario: Scenario, bandwidth: float, profile: Profile, queries: float) -> StepTime:
    """Return the time of a step that sends `queries` on average; `bandwidth` is in bytes a second."""
    config, precision, target = scenario.model.config, scenario.model.precision, scenario.target
    # On a CPU plain weights lie in float32.
    weights = read_weight_bytes(config, Precision("float32", precision.formats) if target.cpu else precision)
    read = weights + profile.batch * cache_bytes(config, scenario.compute_dtype, profile.capacity)
    flops = target.device.flops
    return StepTime(read / bandwidth, None if flops is None else _operations(config, profile, queries) / flops)


def _operations(config: ModelConfig, profile: Profile, queries: float) -> float:
    """Return the operations of a step: two a weight and row in layers and head; scores and values over every visible slot."""
    layers = 2 * layer_parameters(config) * queries
    attention = 4 * config.layers * config.heads * config.head_dim * queries * (profile.capacity + queries)
    head = 2 * profile.rows * config.vocab_size * config.hidden_size
    return profile.batch * (layers + attention + head)
