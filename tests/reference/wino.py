"""WINO (2025), from its description: what a step drafts, and what its verification takes back."""

import math
from dataclasses import dataclass


@dataclass
class Memory:
    """Of one block."""

    accepted: int = 30  # by the step before


@dataclass(frozen=True)
class Verdict:
    drafted: list[int]  # positions
    returned: list[int]
    slack: float  # to another verdict


def decide(
    memory: Memory, confidence: dict[int, float], witnessed: dict[int, float], tau_draft: float, tau_verify: float
) -> Verdict:
    """`confidence`: of masks in what is proposed; `witnessed`: of committed tokens, to a row that does not see them."""
    order = sorted(confidence, key=lambda position: (-confidence[position], position))
    bound = min(max(int(0.7 * len(order)), 5), 20)
    count = max(1, min(bound, sum(value > tau_draft for value in confidence.values())))
    slack = min([abs(value - tau_draft) for value in confidence.values()], default=math.inf)
    if count < len(order):
        slack = min(slack, confidence[order[count - 1]] - confidence[order[count]])
    drafted, returned = order[:count], list[int]()
    if len(drafted) > 1:
        doubtful = sorted((value, position) for position, value in witnessed.items() if value < tau_verify)
        returned = [position for _, position in doubtful[: memory.accepted - 1]]
        slack = min([slack, *(abs(value - tau_verify) for value in witnessed.values())])
        if len(returned) < len(doubtful) and returned:
            slack = min(slack, doubtful[len(returned)][0] - doubtful[len(returned) - 1][0])
    memory.accepted = len(drafted)
    return Verdict(drafted, returned, slack)
