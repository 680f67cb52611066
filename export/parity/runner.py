"""What the layers level compares: runners of a step, and what a subject and its reference bring to every level."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ...graphs.contract import Profile
from ...graphs.dtypes import DType
from ...runtime.arrays import Array
from ...runtime.bundle.bundle import Bundle
from ...runtime.generate import Model
from .report import Level, finite

StepRunner = Callable[[Mapping[str, Array]], dict[str, Array]]
"""Runs a step once, from the contract's inputs to its outputs, by name: keys and values are float32 in both."""


@dataclass(frozen=True)
class StepComparison:
    """One graph of the subject's at some profiles: a line of the layers level.

    `compute_dtype` is what the graph computes in, by which a tolerance is allowed.
    `open_runner` loads the graph; `not_run` says why it cannot be run, where it cannot.
    """

    label: str
    compute_dtype: DType
    profiles: Sequence[Profile]
    open_runner: Callable[[], StepRunner]
    not_run: str = ""


@dataclass(frozen=True)
class LayerFinding:
    """The worst output of a comparison over all of its profiles; differences are shares as `TOLERANCES` counts them."""

    comparison: StepComparison
    worst: str
    difference: float
    first_bad: str | None

    def to_json(self) -> dict[str, Any]:
        return {"worst": self.worst, "difference": finite(self.difference), "first_bad": self.first_bad}


class Pair(Protocol):
    """A subject and the reference that it is held against, each made when a level first asks for it."""

    title: str
    """What runs the subject, as the report says it."""
    reference_title: str
    subject_name: str
    """The subject's name in the lines of the task level."""
    report_file: str
    """The name of the report that is kept with the bundle."""
    compute_dtype: DType
    """What the subject's decodes compute in."""
    takes_all_sizes: bool
    """Whether no decode can be refused for its sizes, so that the report does not say which were."""

    @property
    def bundle(self) -> Bundle: ...

    @property
    def subject(self) -> Model: ...

    @property
    def reference(self) -> Model: ...

    def check(self) -> None:
        """Raise `DllmEdgeError` where there is nothing to compare, or the two are not of one model."""
        ...

    def versions(self) -> dict[str, str]:
        """Return the version of each library that the findings depend on."""
        ...

    def structure(self) -> Level:
        """Check the files that the subject is read from."""
        ...

    def comparisons(self) -> Sequence[StepComparison]:
        """Return all graphs and profiles that the layers level compares, in the report's order."""
        ...

    def run_reference(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the reference's step: a `StepRunner` whose outputs are those of each comparison's."""
        ...

    def layers_json(self, findings: Sequence[LayerFinding]) -> dict[str, Any]:
        """Return the findings of the layers level as the report's JSON has them."""
        ...
