"""Quantisation written down once more, group by group in numpy, for tests to hold the exporter's against."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

LARGEST = {"int8": 127, "int4": 7}


def plain_quantiser(
    weights: torch.Tensor, name: str, group: int, dtype: torch.dtype
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Integers `[N, K]` and scales `[N, K / group]`, as float32 values that `dtype` has."""
    values: NDArray[Any] = weights.float().numpy()
    integers = np.zeros(values.shape, np.int8)
    scales = np.ones((values.shape[0], values.shape[1] // group), np.float32)
    for row, column in np.ndindex(*scales.shape):
        part = slice(column * group, (column + 1) * group)
        largest = np.abs(values[row, part]).max()
        if largest:
            scale = torch.tensor(largest / np.float32(LARGEST[name])).to(dtype).float().item()
            scales[row, column] = scale
            shares = np.rint(values[row, part] / np.float32(scale))
            integers[row, part] = np.clip(shares, -LARGEST[name], LARGEST[name])
    return integers, scales


def as_stored(weights: torch.Tensor, name: str, group: int, dtype: torch.dtype) -> torch.Tensor:
    """The weights that a bundle's graphs compute with, in float32."""
    if name == "plain":
        return weights.to(dtype).float()
    integers, scales = plain_quantiser(weights, name, group, dtype)
    return torch.from_numpy(integers * np.repeat(scales, group, axis=1))
