"""What a plan warns of: what nobody knows to work on the target, and dtypes that a model does not keep within."""

from __future__ import annotations

from ...graphs.families import FAMILIES, float16_warning
from ...runtime.engines.support import findings
from .model import PlannedModel
from .target import Target


def notes_of(model: PlannedModel, target: Target) -> list[str]:
    """Return the warnings, a line each."""
    precision = model.precision
    overflow = float16_warning(FAMILIES[model.config.family], precision.dtype)
    unknown = [str(finding) for finding in findings(target.use(precision.dtype, precision.formats))]
    return ([overflow] if overflow else []) + unknown
