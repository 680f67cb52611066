"""A bench: compositions at several lengths on the same problems, each with the decodes of its sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ....runtime.decoding.settings import Settings
from ....runtime.evaluation.aup import accuracy_under_parallelism
from ....runtime.evaluation.evaluate import Run, evaluate_together
from ....runtime.evaluation.evaluation import Evaluation
from ....runtime.evaluation.journal import Journal
from ....runtime.evaluation.task import Task
from ....runtime.generate import Model
from ....runtime.systems import find_system
from ....runtime.systems.composition import sweep_of
from .compositions import Composition

BASELINE = "vanilla"
Length = int | None
"""Tokens to generate; None: what the bundle says."""


@dataclass(frozen=True)
class Measured:
    """A composition at one length: its evaluation, and those of its sweep by the values that `setting` takes there.

    `speed` is over the baseline of the same length; `aup` is None without a sweep.
    """

    composition: Composition
    evaluation: Evaluation
    baseline: Evaluation
    setting: str = ""
    swept: Mapping[Any, Evaluation] = field(default_factory=dict)
    aup: float | None = None

    @property
    def speed(self) -> float:
        return speed_over(self.baseline, self.evaluation)

    @property
    def claim(self) -> str:
        """The speed that the system's paper reports; nothing where it is composed with what the paper does not have."""
        return "" if self.composition.settings else find_system(self.composition.system).claim

    def to_json(self) -> dict[str, Any]:
        data = {**self.evaluation.to_json(), "composition": self.composition.label, "speed": self.speed, "claim": self.claim}
        points = [
            {"value": value, "speed": speed_over(self.baseline, evaluation), **evaluation.to_json()}
            for value, evaluation in self.swept.items()
        ]
        return data | {"aup": self.aup, "sweep": {"setting": self.setting, "points": points}}


def baseline_of(measured: Sequence[Measured]) -> str:
    """Return the label of what the speeds of one length are over."""
    return next(one.composition.label for one in measured if one.evaluation is one.baseline)


@dataclass(frozen=True)
class Problems:
    """What is decoded: the first `limit` problems of a task, `batch` at a time."""

    task: Task
    limit: int
    batch: int = 1
    seed: int = 0


def speed_over(baseline: Evaluation, evaluation: Evaluation) -> float:
    """Return how many times faster an evaluation is than the baseline, on the same problems."""
    return baseline.seconds / evaluation.seconds


def measure(
    model: Model,
    compositions: Sequence[Composition],
    lengths: Sequence[Length],
    problems: Problems,
    sweep: bool,
    journal: Journal,
    progress: Callable[[float], None],
) -> list[Measured]:
    """Evaluate all compositions at all lengths together; the same decode, of whatever composition or sweep, is made once."""
    plans = [_Plan.of(model, composition, length, sweep) for length in lengths for composition in compositions]
    runs = {key: run for plan in plans for key, run in plan.runs.items()}
    found = evaluate_together(
        model,
        problems.task,
        list(runs.values()),
        problems.limit,
        progress,
        batch=problems.batch,
        seed=problems.seed,
        journal=journal,
    )
    evaluations = dict(zip(runs, found, strict=True))
    taken = [plan.taken(evaluations) for plan in plans]
    return [one for of_length in by_length(taken) for one in _compared(of_length, sweep)]


def by_length(measured: Sequence[Measured]) -> list[list[Measured]]:
    """Return what was measured at each length, in the order of the lengths."""
    lengths = dict.fromkeys(one.evaluation.settings.gen_length for one in measured)
    return [[one for one in measured if one.evaluation.settings.gen_length == length] for length in lengths]


Key = tuple[str, Settings]
"""What one decode is told from another by: its system, and all of its settings."""


@dataclass(frozen=True)
class _Plan:
    """The decodes of one composition at one length: how to ask for each by its key, and which is which of the sweep."""

    composition: Composition
    key: Key
    setting: str
    keys: dict[Any, Key]
    runs: dict[Key, Run]

    @classmethod
    def of(cls, model: Model, composition: Composition, length: Length, sweep: bool) -> _Plan:
        system = composition.system
        asked = dict(composition.settings) if length is None else {**composition.settings, "gen_length": length}
        settings = model.settings(system, **asked)
        key, chosen = (system, settings), sweep_of(find_system(system), settings) if sweep else None
        runs: dict[Key, Run] = {key: (system, asked)}
        if chosen is None:
            return cls(composition, key, "", {}, runs)
        keys: dict[Any, Key] = {}
        for value, changes in zip(chosen.values, chosen.changes(settings), strict=True):
            keys[value] = (system, model.settings(system, **{**asked, **changes}))
            runs.setdefault(keys[value], (system, {**asked, **changes}))
        return cls(composition, key, chosen.setting.name, keys, runs)

    def taken(self, evaluations: Mapping[Key, Evaluation]) -> Measured:
        """Return what was measured, against nothing yet but itself."""
        own = evaluations[self.key]
        return Measured(self.composition, own, own, self.setting, {value: evaluations[key] for value, key in self.keys.items()})


def _compared(measured: Sequence[Measured], sweep: bool) -> list[Measured]:
    """Return what was measured at one length, held against the baseline, which is vanilla's or the first."""
    baselines = [one for one in measured if one.composition.label == BASELINE]
    baseline = (baselines or measured)[0].evaluation
    best = max(evaluation.accuracy for one in measured for evaluation in (one.evaluation, *one.swept.values()))
    return [replace(one, baseline=baseline, aup=_aup(one, best) if sweep else None) for one in measured]


def _aup(measured: Measured, best: float) -> float:
    evaluations = (measured.evaluation, *measured.swept.values())
    points = [(evaluation.tokens_per_forward, 100 * evaluation.accuracy) for evaluation in evaluations]
    return accuracy_under_parallelism(points, 100 * best)
