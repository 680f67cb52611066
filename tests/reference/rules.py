"""Unmasking rules and confidences. Ranks: confidence descending, then position ascending."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor

ConfidenceKind = Literal["maskgit_plus", "topk_margin", "entropy"]


@dataclass(frozen=True)
class Choice:
    indices: list[int]  # ascending, into the confidences
    slack: float  # how far the confidences are from another choice


@dataclass(frozen=True)
class Candidate:
    position: int
    token: int
    confidence: float
    margin: float  # between the two largest logits that may be chosen
    entropy: float = 0.0  # over all ids


def quota(masks: int, steps: int) -> list[int]:
    """The linear schedule of LLaDA (Nie et al. 2025): masks spread over steps, the earlier ones first."""
    return [masks // steps + (step < masks % steps) for step in range(steps)]


def dream_count(masks: int, step: int, steps: int) -> int:
    """Dream (Ye et al. 2025): int(masks (1 - t[i+1] / t[i])), t from 1 to 1e-3 in equal steps; the last takes all."""
    if step >= steps - 1:
        return masks

    def time(index: int) -> Fraction:
        return 1 - Fraction(999, 1000) * index / steps

    return int(masks * (1 - time(step + 1) / time(step)))


def ranked(confidence: Sequence[float]) -> list[int]:
    return sorted(range(len(confidence)), key=lambda index: (-confidence[index], index))


def _gap(order: Sequence[float], count: int) -> float:
    """Between the last that is taken and the first that is not."""
    return order[count - 1] - order[count] if 0 < count < len(order) else math.inf


def top(confidence: Sequence[float], count: int) -> Choice:
    rank = ranked(confidence)
    return Choice(sorted(rank[:count]), _gap([confidence[index] for index in rank], count))


def threshold(confidence: Sequence[float], tau: float) -> Choice:
    """Fast-dLLM (Wu et al. 2025), section 3: all with confidence >= tau, and always the best one."""
    rank = ranked(confidence)
    best = confidence[rank[0]]
    slack = min((abs(confidence[index] - tau) for index in rank[1:]), default=math.inf)
    if best < tau:
        slack = min(slack, _gap([confidence[index] for index in rank], 1))
    chosen = {rank[0]} | {index for index, value in enumerate(confidence) if value >= tau}
    return Choice(sorted(chosen), slack)


def dynamic_threshold(tau: float, alpha: float, mask_ratio: Fraction) -> float:
    """Streaming-dLLM (Xiao et al. 2026): tau (1 - alpha (1 - r)), r the share of masks."""
    return tau * (1 - alpha * float(1 - mask_ratio))


def factor(confidence: Sequence[float], value: float, reference_compat: bool = False) -> Choice:
    """Fast-dLLM, section 3: the largest n with (n + 1)(1 - c_n) < factor, at least 1."""
    rank = ranked(confidence)
    order = [confidence[index] for index in rank]
    if reference_compat:
        count = _factor_count_compat(order, value)
    else:
        count = max([n for n, c in enumerate(order, 1) if (n + 1) * (1 - c) < value], default=1)
    bounds = (abs(order[n - 1] - (1 - value / (n + 1))) for n in range(2, min(count + 1, len(order)) + 1))
    return Choice(sorted(rank[:count]), min(_gap(order, count), min(bounds, default=math.inf)))


def _factor_count_compat(order: Sequence[float], value: float) -> int:
    """The published code: the scan's last element is taken whether it fails or not."""
    for n in range(2, len(order)):
        if order[n - 1] < 1 - value / (n + 1):
            return n - 1
    return len(order)


def profile(order: Sequence[float]) -> list[float]:
    """Fast-dLLM++: G_n = (sum of the n best - (n - 1)) - (1 - c_n), by fractions."""
    exact = [Fraction(value) for value in order]
    return [float(sum(exact[:n]) - (n - 1) - (1 - exact[n - 1])) for n in range(1, len(exact) + 1)]


def frechet(confidence: Sequence[float], margin: float) -> Choice:
    """Fast-dLLM++: the largest n with G_n > margin, at least 1."""
    rank = ranked(confidence)
    order = [confidence[index] for index in rank]
    values = profile(order)
    count = max([n for n, value in enumerate(values, 1) if value > margin], default=1)
    nearest = min((abs(value - margin) for value in values[1 : count + 1]), default=math.inf)
    return Choice(sorted(rank[:count]), min(_gap(order, count), nearest))


def entropy_bound(confidence: Sequence[float], entropy: Sequence[float], bound: float) -> Choice:
    """EB-Sampler: the largest n whose best n have entropies that add up to at most bound, their largest left out."""
    rank = ranked(confidence)
    spent = {}
    for n in range(1, len(rank) + 1):
        best = [entropy[index] for index in rank[:n]]
        spent[n] = math.fsum(best) - max(best)
    count = max([n for n, value in spent.items() if value <= bound], default=1)
    near = min((abs(spent[n] - bound) for n in (count, count + 1) if 1 < n <= len(rank)), default=math.inf)
    return Choice(sorted(rank[:count]), min(near, _gap([confidence[index] for index in rank], count)))


def runs(positions: Sequence[int]) -> list[list[int]]:
    """The indices of neighbouring positions, run by run."""
    found: list[list[int]] = []
    for index, position in enumerate(positions):
        if index and position == positions[index - 1] + 1:
            found[-1].append(index)
        else:
            found.append([index])
    return found


def hierarchical(positions: Sequence[int], confidence: Sequence[float], low: float, high: float, least: int = 1) -> Choice:
    """dInfer: each run's best above low, all above high; then the most confident until there are `least`."""
    rank = ranked(confidence)
    chosen = {index for index, value in enumerate(confidence) if value > high}
    slack = min(abs(value - high) for value in confidence)
    for run in runs(positions):
        best = min(run, key=rank.index)
        others = [confidence[best] - confidence[index] for index in run if index != best]
        slack = min(slack, abs(confidence[best] - low), *others)
        if confidence[best] > low:
            chosen.add(best)
    wanted = [index for index in rank if index not in chosen]
    missing = max(0, least - len(chosen))
    slack = min(slack, _gap([confidence[index] for index in wanted], missing))
    return Choice(sorted(chosen | set(wanted[:missing])), slack)


def local_leap(positions: Sequence[int], confidence: Sequence[float], tau: float, relaxed: float, radius: int) -> Choice:
    """LocalLeap: all of at least tau, of at least relaxed within the radius of those, or the best."""
    anchors = [position for position, value in zip(positions, confidence, strict=True) if value >= tau]
    if not anchors:
        best = top(confidence, 1)
        return Choice(best.indices, min(best.slack, tau - max(confidence)))
    chosen, slack = [], math.inf
    for index, (position, value) in enumerate(zip(positions, confidence, strict=True)):
        if value >= tau or (value >= relaxed and any(abs(position - anchor) <= radius for anchor in anchors)):
            chosen.append(index)
        near = max(other for place, other in zip(positions, confidence, strict=True) if abs(place - position) <= radius)
        slack = min(slack, abs(max(value - tau, min(value - relaxed, near - tau))))
    return Choice(chosen, slack)


def candidates(logits: Tensor, positions: Sequence[int], kind: ConfidenceKind, banned: Collection[int]) -> list[Candidate]:
    """logits: [n, V], the rows that predict the positions. Banned ids are never chosen, yet keep their probability."""
    wide = logits.double()
    log_probability = wide - torch.logsumexp(wide, -1, keepdim=True)
    allowed = log_probability.clone()
    allowed[:, sorted(banned)] = -math.inf
    token = allowed.argmax(-1)
    rows = torch.arange(len(token))
    first = allowed[rows, token]
    rest = allowed.clone()
    rest[rows, token] = -math.inf
    second = rest.max(-1).values
    match kind:
        case "maskgit_plus":
            confidence = first.exp()
        case "topk_margin":
            confidence = first.exp() - second.exp()
        case "entropy":
            confidence = (log_probability.exp() * log_probability).sum(-1)
    entropy = -(log_probability.exp() * log_probability).sum(-1)
    return [
        Candidate(position, int(token[row]), float(confidence[row]), float(first[row] - second[row]), float(entropy[row]))
        for row, position in enumerate(positions)
    ]
