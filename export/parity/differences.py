"""How far two runs of a step may lie apart, and which of its outputs is the first that is off."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...graphs.dtypes import DType
from ...runtime.arrays import Array

# Largest difference allowed, as a share of the tensor's largest magnitude (at least 1). float32: sums in another order.
# float16: 2^-11 a rounding, grown over the layers and over keys and values that are themselves rounded. bfloat16: as many
# roundings, of 2^-8. (Of 30 layers of random weights, torch has 8e-3 in float16 and 6e-2 in bfloat16.)
TOLERANCES: dict[DType, float] = {"float32": 1e-4, "float16": 3e-2, "bfloat16": 2.4e-1}


def scale_of(wanted: Array) -> float:
    """The largest magnitude, at least 1: what differences are measured by."""
    return max(1.0, float(np.abs(wanted).max(initial=0)))


def relative_difference(actual: Array, wanted: Array) -> float:
    """Largest difference as a share of the largest magnitude (at least 1); infinite where something is not a number."""
    difference = float(np.abs(actual.astype(np.float32) - wanted).max(initial=0)) / scale_of(wanted)
    return difference if np.isfinite(difference) else np.inf


def first_bad(differences: Mapping[str, float], allowed: float) -> str | None:
    """The output nearest to the graph's start that is off."""
    return next((name for name in sorted(differences, key=_depth) if not differences[name] <= allowed), None)


def _depth(name: str) -> float:
    """Where in the graph an output comes from: what is wrong in one layer is wrong in all that follow, and in the head."""
    parts = name.split(".")
    if name.startswith("new_key_values"):
        return int(parts[1])
    return int(parts[1]) + 0.5 if parts[-1] == "hidden" else np.inf
