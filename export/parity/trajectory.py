"""Parity level 3: whole decodes on the torch reference and on an engine, token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...graphs.dtypes import DType
from ...runtime.decoding.canvas import Canvas
from ...runtime.decoding.changes import Commit, Edit, Remask
from ...runtime.decoding.trace import Choice, StepTrace
from ...runtime.engines.base import Engine
from ...runtime.scheduler.rehearsal import Use
from ...runtime.scheduler.request import Finished, Request
from ...runtime.scheduler.scheduler import Scheduler
from .decodes import prompts, served_uses
from .differences import TOLERANCES
from .levels import not_applicable
from .report import Level, finite
from .runner import Pair


@dataclass(frozen=True)
class Rounding:
    """A difference counts as rounding where the reference's own margin is below one of these.

    `logits` bounds the distance of the best two, `probability` that to a threshold or to the next candidate.
    """

    logits: float
    probability: float


# By what the engine computes in: what the layers level allows a logit of magnitude 1. In half precision a probability moves
# by at most a quarter of what its logit does, since p (1 - p) does not exceed 1/4.
ROUNDING: dict[DType, Rounding] = {
    "float32": Rounding(TOLERANCES["float32"], TOLERANCES["float32"]),
    "float16": Rounding(TOLERANCES["float16"], TOLERANCES["float16"] / 4),
    "bfloat16": Rounding(TOLERANCES["bfloat16"], TOLERANCES["bfloat16"] / 4),
}


@dataclass(frozen=True)
class Difference:
    """The first step at which two decodes part, and how close the reference's decision was there."""

    forward: int
    position: int
    margin: float
    gate_distance: float
    bound: Rounding = ROUNDING["float32"]

    @property
    def rounding(self) -> bool:
        return self.margin < self.bound.logits or self.gate_distance < self.bound.probability

    def to_json(self) -> dict[str, Any]:
        return {
            "forward": self.forward,
            "position": self.position,
            "margin": finite(self.margin),
            "threshold_distance": finite(self.gate_distance),
            "rounding": self.rounding,
        }


def decode(engine: Engine, prompt: Sequence[int], use: Use) -> list[StepTrace]:
    """Return the trace of one decode."""
    system, settings = use
    canvas = Canvas.from_prompt(prompt, settings.gen_length, engine.config)
    events = Scheduler(engine).run([Request(canvas, system, settings, trace=True)])
    (end,) = (event for event in events if isinstance(event, Finished))
    return end.trace


def first_difference(reference: Sequence[StepTrace], other: Sequence[StepTrace]) -> Difference | None:
    """Return where `other` first changes its canvas in another way than `reference`, or None."""
    for ours, theirs in zip(reference, other, strict=False):
        mine, its = (changed_tokens(step) for step in (ours, theirs))
        if mine != its:
            return _difference(
                ours, sorted(position for position in mine.keys() | its.keys() if mine.get(position) != its.get(position))
            )
    return None if len(reference) == len(other) else Difference(min(len(reference), len(other)) + 1, -1, np.inf, np.inf)


def changed_tokens(step: StepTrace) -> dict[int, int]:
    """Return the tokens that a forward wrote by position: -1 where one returned to the mask."""
    tokens: dict[int, int] = {}
    for change in step.changes:
        if isinstance(change, Commit | Edit):
            tokens |= zip(change.positions.tolist(), change.ids.tolist(), strict=True)
        elif isinstance(change, Remask):
            tokens |= dict.fromkeys(change.positions.tolist(), -1)
    return tokens


def _difference(step: StepTrace, positions: Sequence[int]) -> Difference:
    """Return the reference's margins at the positions where the decodes part: of logits, and of what orders or gates them."""
    rows = [row for position in positions for row in np.flatnonzero(step.predicts == position)[:1].tolist()]
    margin = float(step.margins[rows].min(initial=np.inf))
    distances = [_distance(choice, position) for choice in step.choices for position in positions]
    return Difference(step.forward, positions[0], margin, min(distances, default=np.inf))


def _distance(choice: Choice, position: int) -> float:
    """Return how far the position's score lies from the nearest other score or gate; infinite where it has none."""
    index = np.flatnonzero(choice.positions == position)
    if not index.size:
        return float(np.inf)
    scores = choice.scores.astype(np.float64)
    others = np.array([*np.delete(scores, index[0]), *choice.gates])
    return float(np.abs(others - scores[index[0]]).min(initial=np.inf))


def check_trajectory(pair: Pair, progress: Callable[[float], None]) -> Level:
    """Compare the decodes that the subject serves; each that it does not is named, with what would."""
    texts = prompts(pair.subject)
    served, refused = served_uses(pair.subject, texts)
    if not served:
        return not_applicable("trajectory", refused[0])
    bound = ROUNDING[pair.compute_dtype]
    level = check_decodes(pair.subject.engine, pair.reference.engine, texts, served, progress, bound)
    level.lines += [f"not applicable: {problem}" for problem in refused]
    if not pair.takes_all_sizes:
        level.data["not_applicable"] = refused
    return level


def check_decodes(
    engine: Engine,
    reference: Engine,
    prompts: Sequence[Sequence[int]],
    uses: Sequence[Use],
    progress: Callable[[float], None],
    bound: Rounding = ROUNDING["float32"],
) -> Level:
    """Decode each prompt with each system on both engines; `bound` says which margins are rounding."""
    level = Level("trajectory", True, [], {"runs": []})
    for index, use in enumerate(uses):
        differences = []
        for prompt in prompts:
            progress(index / len(uses))
            difference = first_difference(decode(reference, prompt, use), decode(engine, prompt, use))
            if difference is not None:
                differences.append(replace(difference, bound=bound))
        level.passed &= all(difference.rounding for difference in differences)
        level.lines.append(_line(use, len(prompts), differences))
        level.data["runs"].append(_record(use, len(prompts), differences))
    return level


def _line(use: Use, count: int, differences: Sequence[Difference]) -> str:
    system, settings = use
    return f"{system.name}, {settings.unmask}: {_verdict(count, differences)}" + _explain(differences)


def _verdict(count: int, differences: Sequence[Difference]) -> str:
    """Return in words what became of `count` decodes, of which each of `differences` parts one."""
    if not differences:
        return f"holds, {count} of {count} decodes equal"
    if all(difference.rounding for difference in differences):
        return f"holds, {len(differences)} of {count} decodes differ by rounding only"
    return f"FAILS, {count - len(differences)} of {count} decodes equal"


def _explain(differences: Sequence[Difference]) -> str:
    return "".join(
        f"; differs at forward {d.forward}, position {d.position} (logit margin {d.margin:.1e}, confidence distance "
        f"{d.gate_distance:.1e}: {'rounding' if d.rounding else 'NOT rounding'})"
        for d in differences
    )


def _record(use: Use, count: int, differences: Sequence[Difference]) -> dict[str, Any]:
    system, settings = use
    equal = count - len(differences)
    return {
        "system": system.name,
        "unmask": settings.unmask,
        "decodes": count,
        "equal": equal,
        "differences": [difference.to_json() for difference in differences],
    }
