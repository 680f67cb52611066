"""What an unmasking rule is: it sees a step's proposals and says what is committed, put back to the mask, or changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeVar

import numpy as np

from ...graphs.errors import DllmEdgeError, unknown
from ..arrays import FloatArray, IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import CHECKS, STEPS, Setting, Settings, check_steps, declare
from ..decoding.sweep import Sweep
from ..decoding.window import Block
from .proposals import Proposals


def _none() -> IntArray:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Decision:
    """Indices into the proposals: of masked positions to commit, and of committed ones to remask or to edit.

    `scores` `[m]` is what the rule ordered the proposals by (None: their confidence), `remask_scores` `[m]` by what it chose
    which to remask, NaN of those that it did not judge (None: there is no such order), and `remask_gates` are the scores at
    which that would have changed, beyond their order. `proposals` are those of the rule's own making, of the same positions,
    whose tokens are committed in place of the model's (None: the model's).
    """

    commit: IntArray = field(default_factory=_none)
    remask: IntArray = field(default_factory=_none)
    edit: IntArray = field(default_factory=_none)
    scores: FloatArray | None = None
    remask_scores: FloatArray | None = None
    proposals: Proposals | None = None
    remask_gates: Sequence[float] = ()


@dataclass(frozen=True)
class Budget:
    """What a block begins with: `masks` masked positions to be committed over `steps` steps, of which `spent` are gone.

    `random` is the request's own source of chance, `block` where the block lies.
    """

    masks: int
    steps: int
    spent: int
    random: np.random.Generator
    block: Block


class Rule:
    """The rule of one block in flight: asked once a step, it may keep what it needs from earlier steps.

    A rule is a file of this folder: it declares the settings that it reads beyond those that all have, and registers itself.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """What it commits, and its source."""
    settings: ClassVar[tuple[Setting, ...]] = ()
    sweep: ClassVar[Sweep | None] = None
    """How it trades accuracy for speed: what a bench varies (None: it has no setting for that)."""
    compares: ClassVar[Literal["scores", "probabilities", "token probabilities"]] = "scores"
    """What it needs a confidence to be: anything that has an order, a probability, or that of the token itself."""
    looks_at: ClassVar[Literal["masked", "all"]] = "masked"
    """Whether proposals are for the block's masked positions, or for committed ones, too, with `current_log_probs`."""
    revises: bool = False
    """Whether the rule wants another forward over a block that has no masks left, to edit it."""

    def __init__(self, settings: Settings, budget: Budget) -> None:
        """Begin a block."""

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        """Decide over proposals, of which there is at least one; `step` counts the block's steps from 0."""
        raise NotImplementedError

    def gates(self) -> Sequence[float]:
        """Return the scores at which the last decision would have changed, beyond their order: none for an order alone."""
        return ()

    @classmethod
    def check(cls, settings: Settings) -> None:
        """Raise `DllmEdgeError` for settings that the rule cannot work with."""


CONFIDENCES_FOR = {
    "probabilities": ("maskgit_plus", "topk_margin", "random"),
    "token probabilities": ("maskgit_plus",),
}
"""The confidences that are what a rule compares; all are scores."""

RULES: dict[str, type[Rule]] = {}
UNMASK = declare(Setting("unmask", "quota", "How many tokens a step commits, and which: a rule's name.", choices=RULES.keys()))

R = TypeVar("R", bound=type[Rule])


def register(rule: R) -> R:
    """Make a rule known by its name, in the order of names; to be used as a decorator."""
    assert rule.name not in RULES, f"there is a rule '{rule.name}' already"
    known: dict[str, type[Rule]] = {**RULES, rule.name: rule}
    RULES.clear()
    RULES.update(sorted(known.items(), key=lambda item: item[0]))
    return rule


def find_rule(name: str) -> type[Rule]:
    """Return the rule of that name; raises `DllmEdgeError` for an unknown one, listing the known."""
    if name not in RULES:
        raise unknown("rule", name, RULES)
    return RULES[name]


def _check_rule(settings: Settings) -> None:
    rule = RULES[settings.unmask]
    if STEPS in rule.settings:
        check_steps(settings)
    if rule.compares != "scores" and settings.confidence not in CONFIDENCES_FOR[rule.compares]:
        raise DllmEdgeError(
            f"unmask={settings.unmask} compares {rule.compares}: confidence={settings.confidence} has none, "
            "use confidence=maskgit_plus"
        )
    rule.check(settings)


CHECKS.append(_check_rule)


def ranked(scores: FloatArray) -> IntArray:
    """Return the indices of `scores` `[m]`, highest first; ties by position (index) ascending."""
    return np.argsort(-scores, kind="stable")


def remaining(canvas: Canvas, proposals: Proposals) -> IntArray:
    """Return which of a step's proposals are for positions that are masked still, `[n]`, the most confident first."""
    left = (canvas.tokens[proposals.positions] == canvas.mask_token_id).nonzero()[0]
    order: IntArray = left[ranked(proposals.log_confidence[left])]
    return order
