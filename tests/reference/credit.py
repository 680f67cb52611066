"""dInfer's credit decoding, from its description: over all ids, but for those that a step does not know."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .klass import best
from .rules import Candidate


@dataclass
class Credits:
    """Of one block: by position and id."""

    amounts: dict[int, dict[int, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    weight: float
    decay: float
    power: float
    known: int  # of ids, the best that a step knows


def decay(memory: Credits, form: Form) -> None:
    for by_id in memory.amounts.values():
        for token in by_id:
            by_id[token] *= form.decay


def candidate(memory: Credits, position: int, logits: Tensor, banned: Collection[int], form: Form) -> Candidate:
    """Give its best id credit, and return what is then best. logits: `[V]`."""
    log_probability = torch.log_softmax(logits.double(), -1)
    known = best(log_probability, banned, form.known)
    by_id = memory.amounts.setdefault(position, {})
    by_id[known[0]] = by_id.get(known[0], 0.0) + math.exp(log_probability[known[0]]) ** form.power
    fused = logits.double().clone()
    for token in set(by_id) & set(known):
        fused[token] += form.weight * math.log(1 + by_id[token])
    probability = torch.softmax(fused, -1)
    order = best(torch.log_softmax(fused, -1), banned, 2)
    # Which id is first decides who gains.
    margin = min(float(fused[order[0]] - fused[order[1]]), float(logits[known[0]] - logits[known[1]]))
    return Candidate(position, order[0], float(probability[order[0]]), margin)
