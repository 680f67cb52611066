"""KLASS, from its description: over distributions of which a step knows the K best ids alone."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .rules import Choice, ranked, top


@dataclass
class History:
    """By position, the last distribution `[V]`, and the divergences of its steps, the newest last."""

    last: dict[int, Tensor] = field(default_factory=dict)
    divergences: dict[int, list[float]] = field(default_factory=dict)

    def add(self, position: int, log_probability: Tensor, banned: Collection[int], known: int) -> None:
        if position in self.last:
            nats = divergence(log_probability, self.last[position], banned, known)
            self.divergences.setdefault(position, []).append(nats)
        self.last[position] = log_probability

    def highest(self, position: int, steps: int) -> float:
        """Of the last steps; infinite where there were fewer."""
        divergences = self.divergences.get(position, [])
        return max(divergences[-steps:]) if len(divergences) >= steps else math.inf


def best(log_probability: Tensor, banned: Collection[int], known: int) -> list[int]:
    """The `known` best ids, or all that may be chosen."""
    allowed = log_probability.clone()
    allowed[sorted(banned)] = -math.inf
    return [int(token) for token in allowed.topk(min(known, len(allowed) - len(banned))).indices]


def divergence(now: Tensor, before: Tensor, banned: Collection[int], known: int) -> float:
    """KL(now || before) in nats, float64, of distributions `[V]`: ids that only one step knows are one, all together.

    But those that are new, where the probability that they had at most is too low for that: these count with it.
    """
    before_ids = best(before, banned, known)
    ids = best(now, banned, known)
    probability = {token: (math.exp(now[token]), math.exp(before[token])) for token in ids if token in before_ids}
    least = math.exp(before[before_ids[-1]])
    left, left_before = _left(probability)
    for token in set(ids) - set(before_ids):
        if math.exp(now[token]) / least > left / left_before:
            probability[token] = (math.exp(now[token]), least)
    left, left_before = _left(probability)
    return sum(p * math.log(p / q) for p, q in [*probability.values(), (left, left_before)])


def _left(probability: dict[int, tuple[float, float]]) -> tuple[float, float]:
    now, before = ([pair[index] for pair in probability.values()] for index in (0, 1))
    return max(1 - math.fsum(now), 1e-6), max(1 - math.fsum(before), 1e-6)


def full_divergence(now: Tensor, before: Tensor) -> float:
    """Over all ids."""
    return float(torch.nn.functional.kl_div(before, now, reduction="sum", log_target=True))


@dataclass(frozen=True)
class Form:
    threshold: float
    kl_threshold: float
    kl_steps: int


def choose(confidence: Sequence[float], highest: Sequence[float], count: int, form: Form) -> Choice:
    """All that are sure and have stood still; else the `count` best."""
    ready = [
        index
        for index, (sure, nats) in enumerate(zip(confidence, highest, strict=True))
        if sure > form.threshold and nats < form.kl_threshold
    ]
    slack = min(
        abs(min(sure - form.threshold, form.kl_threshold - nats)) for sure, nats in zip(confidence, highest, strict=True)
    )
    if ready:
        return Choice(ready, slack)
    fallback = top(confidence, count)
    return Choice(sorted(ranked(confidence)[:count]), min(slack, fallback.slack))
