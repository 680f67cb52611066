"""What one row of a plan is about: a model, decoded in one way, on one target."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...graphs.dtypes import DType
from .decode import Decode
from .model import PlannedModel, Precision
from .target import Target


@dataclass(frozen=True)
class Scenario:
    """A model, a decode and a target; remedies change one of them."""

    model: PlannedModel
    decode: Decode
    target: Target

    @property
    def compute_dtype(self) -> DType:
        """What the model computes in on this target."""
        return self.target.compute_dtype(self.model.precision.dtype)

    def with_precision(self, precision: Precision) -> Scenario:
        """Return the same with the model stored otherwise."""
        return replace(self, model=replace(self.model, precision=precision))

    def with_decode(self, decode: Decode) -> Scenario:
        """Return the same with another decode."""
        return replace(self, decode=decode)

    def with_target(self, target: Target) -> Scenario:
        """Return the same on another target."""
        return replace(self, target=target)
