"""Weights as integers: symmetric, rounded to nearest, one scale for each group of a row's inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ...graphs.weight_formats import WeightFormat

# Without -128 and -8: a scale maps the largest magnitude of a group to the largest integer of either sign, and zero to
# zero, which is the only zero point that TensorRT takes.
LARGEST = {"int8": 127, "int4": 7}


class Quantised(NamedTuple):
    """`integers` `[N, K]` int8 and `scales` `[N, K / group]`: a weight is its integer times its group's scale."""

    integers: Tensor
    scales: Tensor


def quantise(weights: Tensor, weight_format: WeightFormat, dtype: torch.dtype) -> Quantised:
    """Quantise `weights` `[N, K]` with scales of type `dtype`; integers are rounded, to even at ties, against these.

    A group's scale never rounds to zero: it is at least the smallest number of `dtype`, and 1 for a group of zeros.
    """
    groups = weights.to(torch.float32).unflatten(1, (-1, weight_format.group))
    largest = groups.abs().amax(-1)
    scales = (largest / LARGEST[weight_format.name]).to(dtype)
    scales = torch.where(scales > 0, scales, torch.where(largest > 0, _smallest(dtype), 1.0).to(dtype))
    integers = (groups / scales.to(torch.float32).unsqueeze(-1)).round_()
    return Quantised(
        integers.clamp_(-LARGEST[weight_format.name], LARGEST[weight_format.name]).to(torch.int8).flatten(1), scales
    )


def dequantise(quantised: Quantised) -> Tensor:
    """The weights `[N, K]` in float32."""
    count = quantised.scales.shape[1]
    groups = quantised.integers.to(torch.float32).unflatten(1, (count, -1))
    weights: Tensor = groups * quantised.scales.to(torch.float32).unsqueeze(-1)
    return weights.flatten(1)


def pack(integers: Tensor) -> Tensor:
    """Integers of 4 bits as bytes, two in each, the earlier one in the lower half: ONNX's order."""
    pairs = integers.flatten().view(torch.uint8).unflatten(0, (-1, 2)) & 15
    packed: Tensor = pairs[:, 0] | pairs[:, 1] << 4
    return packed


def unpack(packed: Tensor) -> Tensor:
    """The int8 values of bytes that `pack` made, as one row."""
    pairs = torch.stack((packed << 4, packed), -1).view(torch.int8) >> 4
    return pairs.flatten()


def _smallest(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).smallest_normal * (torch.finfo(dtype).eps if dtype == torch.float16 else 1.0)


@dataclass
class QuantisationError:
    """What quantisation changed in one tensor, added up over its parts.

    `largest` is the largest change of a weight as a share of its group's scale: a half where all is right, or little more
    where a scale was rounded down.
    """

    squared_change: float = 0.0
    squared_norm: float = 0.0
    largest: float = 0.0

    def add(self, weights: Tensor, quantised: Quantised) -> None:
        change = dequantise(quantised) - weights
        self.squared_change += float(change.square().sum())
        self.squared_norm += float(weights.square().sum())
        shares = change.unflatten(1, (quantised.scales.shape[1], -1)).abs().amax(-1) / quantised.scales.to(torch.float32)
        self.largest = max(self.largest, float(shares.max()))

    @property
    def relative(self) -> float:
        """Frobenius norm of the change over that of the weights; 0 for a tensor of zeros."""
        return math.sqrt(self.squared_change / self.squared_norm) if self.squared_norm else 0.0
