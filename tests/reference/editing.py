"""Token editing (LLaDA2.1), from its description: masks to tokens and tokens to tokens in every forward of a block."""

import math
from dataclasses import dataclass, field

from .rules import Candidate


@dataclass
class Memory:
    """Of one block: what each forward after the last mask changed."""

    later: list[int] = field(default_factory=list)
    begun: bool = False

    def goes_on(self, most: int) -> bool:
        return self.begun and len(self.later) < most and 0 not in self.later


@dataclass(frozen=True)
class Verdict:
    committed: list[Candidate]
    edited: list[Candidate]
    slack: float


def decide(
    memory: Memory, masked: list[Candidate], standing: dict[int, tuple[Candidate, int]], tau_mask: float, tau_edit: float
) -> Verdict:
    """`standing`: by position what is proposed for it, and what stands there."""
    committed = [option for option in masked if option.confidence > tau_mask]
    if masked and not committed:
        committed = [max(masked, key=lambda option: (option.confidence, -option.position))]
    edited = [option for option, token in standing.values() if option.token != token and option.confidence > tau_edit]
    near = [abs(option.confidence - tau_mask) for option in masked]
    near += [min(abs(option.confidence - tau_edit), option.margin) for option, _ in standing.values()]
    order = sorted((option.confidence for option in masked), reverse=True)
    if len(order) > 1 and order[0] <= tau_mask:
        near.append(order[0] - order[1])
    memory.begun = memory.begun or bool(masked)
    if not masked:
        memory.later.append(len(edited))
    return Verdict(committed, edited, min(near, default=math.inf))
