"""Saber (2025), from its description and that of its released code: what is drafted, and what returns to the mask."""

import math
from dataclasses import dataclass, field
from statistics import fmean


@dataclass
class Memory:
    """Of one run, or of one block."""

    commits: dict[int, list[float]] = field(default_factory=dict)  # by position the confidence of each commit
    last: dict[int, float] = field(default_factory=dict)  # by position what was compared a forward ago


@dataclass(frozen=True)
class Seen:
    """A position that a forward predicts."""

    position: int
    masked: bool
    confidence: float  # in the token that is proposed
    current: float  # the probability of the token that stands there


@dataclass(frozen=True)
class Form:
    least: int  # tokens that are drafted
    one_in: int  # drafts for one that returns
    fall: bool  # LLaDA: what fell most; else Dream: what is least probable
    released: bool


@dataclass(frozen=True)
class Verdict:
    drafted: list[int]  # positions
    returned: list[int]
    slack: float  # to another verdict


def decide(memory: Memory, seen: list[Seen], form: Form) -> Verdict:
    bar = _bar(memory, seen, form)
    left = sorted((one for one in seen if one.masked), key=lambda one: (-one.confidence, one.position))
    drafts = [one for one in left if one.confidence > bar]
    if len(drafts) < form.least:
        drafts = left[: form.least]
    slack = min((abs(one.confidence - bar) for one in left), default=math.inf)
    if 0 < len(drafts) < len(left):
        slack = min(slack, drafts[-1].confidence - left[len(drafts)].confidence)
    for one in drafts:
        memory.commits.setdefault(one.position, []).append(one.confidence)
    ranked = _ranked(memory, seen, {one.position for one in drafts}, form)
    count = _count(len(drafts), form) if len(drafts) < len(left) else 0
    if 0 < count < len(ranked):
        slack = min(slack, ranked[count][0] - ranked[count - 1][0])
    return Verdict([one.position for one in drafts], [position for _, position in ranked[:count]], slack)


def _bar(memory: Memory, seen: list[Seen], form: Form) -> float:
    """The paper: the mean over the tokens that stand. The code: over all ever committed, their last (Dream: first) time."""
    if form.released:
        counted = [commits[-1 if form.fall else 0] for commits in memory.commits.values()]
    else:
        counted = [memory.commits[one.position][-1] for one in seen if not one.masked and one.position in memory.commits]
    return fmean(counted) if counted else 1.0


def _count(drafts: int, form: Form) -> int:
    if form.one_in == 0:
        return 0
    wanted = max(form.least // 2, math.ceil(drafts / form.one_in)) if form.released else max(1, drafts // form.one_in)
    return min(wanted, drafts - 1)


def _ranked(memory: Memory, seen: list[Seen], drafted: set[int], form: Form) -> list[tuple[float, int]]:
    """Positions that may return, the first to return first; the code lets this forward's own return, too."""
    ranked = []
    for one in seen:
        any_token = one.masked or (form.released and form.fall)
        now = one.confidence if any_token else one.current
        rise = now - memory.last.get(one.position, 0.0)
        memory.last[one.position] = now
        if not one.masked or (form.released and one.position in drafted):
            ranked.append((rise if form.fall else now, one.position))
    return sorted(ranked)
