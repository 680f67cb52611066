"""The whole plan: each system at each context on one target, with its speed and, where it does not fit, what would.

A `scenario` is a `model` (its configuration alone is read), a `decode` (system and lengths) and a `target` (one of `devices`,
an engine and a flavour). `steps` says what such a decode asks of an engine. `weights` and `activations` count bytes,
`estimate` adds them up for each phase, and `speed` bounds the steps and tokens a second from the same figures. Where a phase
lacks memory, `remedies` looks for the fewest `changes` (one of them `smaller_formats`) with which the estimate fits. A plan is
a row of these for each scenario, printed by the command or written as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from ...runtime.engines.support import check_taken, level_of
from ...runtime.engines.support_table import Level
from .decode import Decode
from .estimate import Estimate, estimate
from .model import PlannedModel
from .notes import notes_of
from .remedies import Remedy, remedies
from .scenario import Scenario
from .speed import Speed, StepTime, speed
from .target import HEADROOM, Target

ASSUMPTIONS = (
    "every figure is an estimate from formulas, none is a measurement of this model on this device",
    f"a plan fills at most {HEADROOM:.0%} of the memory that the operating system leaves",
    "speeds are upper bounds: nothing but reading weights and cache, or nothing but multiplying at the data sheet's rate",
)


@dataclass(frozen=True)
class Row:
    """One decode. `remedies` is empty where it fits, and where nothing that was tried does."""

    estimate: Estimate
    speed: Speed | None
    remedies: list[Remedy]

    def to_json(self, tokens_per_forward: float | None) -> dict[str, Any]:
        """Return the figures of the row, with tokens a second where `tokens_per_forward` is known."""
        data = _estimate_json(self.estimate) | {"remedies": [str(remedy) for remedy in self.remedies]}
        return data if self.speed is None else data | _speed_json(self.speed, tokens_per_forward)


@dataclass(frozen=True)
class Plan:
    """A row for each decode; `tokens_per_forward` is what a forward commits on average, None where it is not known."""

    model: PlannedModel
    target: Target
    rows: list[Row]
    tokens_per_forward: float | None
    notes: list[str]

    @property
    def fits(self) -> bool:
        """Whether every row does."""
        return all(row.estimate.fits for row in self.rows)

    @property
    def known(self) -> Level:
        """How far it is known that the engine takes the model so, by the table of engines."""
        return level_of(self.target.use(self.model.precision.dtype, self.model.precision.formats))

    def to_json(self) -> dict[str, Any]:
        """Return the whole plan as what `plan --json` prints."""
        model, target = self.model, self.target
        limits = {"limit_bytes": target.limit_bytes, "reserved_bytes": target.reserved_bytes}
        return {
            "estimate": True,
            "fits": self.fits,
            "model": {"path": str(model.path), "family": model.config.family, "precision": str(model.precision)},
            "device": vars(target.device) | limits,
            "engine": target.engine,
            "flavour": target.flavour,
            "known": self.known,
            "notes": self.notes,
            "plans": [row.to_json(self.tokens_per_forward) for row in self.rows],
            "assumptions": list(ASSUMPTIONS),
        }


def make_plan(model: PlannedModel, target: Target, decodes: Iterable[Decode], tokens_per_forward: float | None = None) -> Plan:
    """Plan the decodes; raises `DllmEdgeError` for formats and lengths that do not fit the model or are not taken there."""
    model.precision.formats.check(model.config)
    check_taken(target.use(model.precision.dtype, model.precision.formats))
    rows = [_row(Scenario(model, decode, target)) for decode in decodes]
    return Plan(model, target, rows, tokens_per_forward, notes_of(model, target))


def decodes_of(systems: Iterable[str], contexts: Iterable[int], like: Decode) -> list[Decode]:
    """Return `like` with each of the systems at each of the contexts."""
    return [replace(like, system=system, context=context) for system, context in product(systems, contexts)]


def _row(scenario: Scenario) -> Row:
    """Return the row of one scenario."""
    figures = estimate(scenario)
    return Row(figures, speed(figures), [] if figures.fits else remedies(scenario))


def _estimate_json(figures: Estimate) -> dict[str, Any]:
    decode = vars(figures.scenario.decode)
    return {
        **{name: value for name, value in decode.items() if name != "retention"},
        **({"retention": figures.scenario.decode.kept} if figures.steps.evicts else {}),
        "weight_bytes": figures.weight_bytes,
        "stored_weight_bytes": figures.stored_weight_bytes,
        "steady_cache_bytes": figures.steady_cache_bytes,
        "peak_cache_bytes": figures.peak_cache_bytes,
        "activation_bytes": figures.activation_bytes,
        "runtime_bytes": figures.runtime_bytes,
        "run_bytes": figures.run_bytes,
        "load_bytes": figures.load_bytes,
        "build_bytes": figures.build_bytes,
        "swap_bytes": figures.swap_bytes,
        "profile_bytes": figures.profile_bytes,
        "fits": figures.fits,
        "missing_bytes": dict(figures.missing_bytes),
    }


def _speed_json(bound: Speed, tokens_per_forward: float | None) -> dict[str, Any]:
    data: dict[str, Any] = {"steps_per_second": bound.steps_per_second, "full_step": _step_json(bound.full)}
    if bound.block is not None:
        data["block_step"] = _step_json(bound.block)
    if tokens_per_forward is not None:
        data["tokens_per_second"] = bound.tokens_per_second(tokens_per_forward)
    return data


def _step_json(step: StepTime) -> dict[str, Any]:
    return {"seconds": step.seconds, "bound": "compute" if step.compute_bound else "bandwidth"}
