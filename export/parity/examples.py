"""Random inputs of a step, for comparing two runs of it."""

from __future__ import annotations

import numpy as np

from ...graphs.contract import Profile, TensorSpec
from ...runtime.arrays import Array
from ...runtime.engines.host import NUMPY_DTYPES

PROFILES = (Profile(1, 9, 0, 4), Profile(2, 5, 12, 3, targets=3), Profile(1, 33, 64, 33))
SEED = 20


def example(specs: list[TensorSpec], profile: Profile, vocabulary: int, generator: np.random.Generator) -> list[Array]:
    """Random inputs that the contract allows: any positions, any visibility in which every row sees itself."""
    arrays: list[Array] = []
    for spec in specs:
        shape, kind = spec.shape(profile), NUMPY_DTYPES[spec.dtype]
        if spec.name == "position_ids":
            value: Array = generator.integers(0, 2 * profile.queries + profile.capacity, shape)
        elif spec.name == "logit_rows":
            value = generator.integers(0, profile.queries, shape)
        elif spec.dtype == "int64":
            value = generator.integers(0, vocabulary, shape)
        elif spec.dtype == "bool":
            value = generator.random(shape) < 0.7
            value[:, 0, np.arange(profile.queries), profile.capacity + np.arange(profile.queries)] = True
        elif spec.name == "saliency_weights":
            value = np.full(shape, 1 / profile.queries)
        else:
            value = generator.standard_normal(shape) * 0.5
        arrays.append(value.astype(kind))
    return arrays
