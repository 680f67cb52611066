"""The whole plan: each system at each context on one target, with its speed and, where it does not fit, what would."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

from .decode import Decode
from .estimate import Estimate
from .model import Subject
from .remedies import Remedy, Situation, remedies
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


@dataclass(frozen=True)
class Plan:
    subject: Subject
    target: Target
    rows: list[Row]
    tokens_per_forward: float | None

    @property
    def fits(self) -> bool:
        return all(row.estimate.fits for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        device = self.target.device
        return {
            "estimate": True,
            "fits": self.fits,
            "model": {
                "path": str(self.subject.path),
                "family": self.subject.config.family,
                "precision": str(self.subject.precision),
            },
            "device": vars(device) | {"limit_bytes": self.target.limit, "reserved_bytes": self.target.reserve},
            "engine": self.target.engine,
            "flavour": self.target.flavour,
            "plans": [self._row(row) for row in self.rows],
            "assumptions": list(ASSUMPTIONS),
        }

    def _row(self, row: Row) -> dict[str, Any]:
        found = row.estimate
        data = {
            **{name: value for name, value in vars(found.decode).items() if name != "retention"},
            **({"retention": found.decode.retention} if found.steps.staged else {}),
            "weight_bytes": found.weights,
            "stored_weight_bytes": found.stored,
            "steady_cache_bytes": found.steady_cache,
            "peak_cache_bytes": found.peak_cache,
            "activation_bytes": found.activations,
            "runtime_bytes": found.runtime,
            "run_bytes": found.run,
            "load_bytes": found.load,
            "build_bytes": found.build,
            "fits": found.fits,
            "missing_bytes": dict(found.over),
            "remedies": [str(remedy) for remedy in row.remedies],
        }
        return data | ({} if row.speed is None else self._speed(row.speed))

    def _speed(self, found: Speed) -> dict[str, Any]:
        data: dict[str, Any] = {"steps_per_second": found.steps_per_second, "full_step": _step_json(found.full)}
        if found.block is not None:
            data["block_step"] = _step_json(found.block)
        if self.tokens_per_forward is not None:
            data["tokens_per_second"] = found.tokens_per_second(self.tokens_per_forward)
        return data


def make_plan(subject: Subject, target: Target, decodes: Iterable[Decode], tokens_per_forward: float | None = None) -> Plan:
    subject.precision.formats.check(subject.config)
    return Plan(subject, target, [_row(Situation(subject, decode, target)) for decode in decodes], tokens_per_forward)


def decodes_of(systems: Iterable[str], contexts: Iterable[int], like: Decode) -> list[Decode]:
    """`like` with each of the systems at each of the contexts."""
    return [
        Decode(system, context, like.gen_length, like.block_length, like.retention, like.batch)
        for system, context in product(systems, contexts)
    ]


def _row(situation: Situation) -> Row:
    found = situation.estimate()
    return Row(found, speed(situation.subject.config, found, situation.target), [] if found.fits else remedies(situation))


def _step_json(step: StepTime) -> dict[str, Any]:
    return {"seconds": step.seconds, "bound": "compute" if step.compute_bound else "bandwidth"}
