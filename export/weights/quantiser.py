"""Weights as integers: symmetric, one scale for each group of a row's inputs. How they are chosen is a quantiser's."""

from __future__ import annotations

from typing import NamedTuple, Protocol

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


class Quantiser(Protocol):
    """A way to choose the integers and scales of a matrix.

    `by_groups` says that each group is quantised by itself, whatever stands beside it: then `quantise` gets some rows and
    some groups of a matrix at a time, and a matrix of any size passes through small buffers. Where it is false, `quantise`
    gets each matrix whole, once, in float32.
    """

    @property
    def by_groups(self) -> bool: ...

    def quantise(self, name: str, weights: Tensor, weight_format: WeightFormat, scale_dtype: torch.dtype) -> Quantised:
        """Quantise `weights` `[N, K]` float32, finite and within the range of `scale_dtype`, which scales must have.

        `name` is the canonical one (`graphs.parameters`) of the matrix `[outputs, inputs]` that they are, or are a part of.
        Integers lie within `LARGEST`. The quantiser must leave `weights` as they are.
        """
        ...


class RoundToNearest:
    """The `Quantiser` that looks at nothing but the weights."""

    by_groups = True

    def quantise(self, name: str, weights: Tensor, weight_format: WeightFormat, scale_dtype: torch.dtype) -> Quantised:
        return round_to_nearest(weights, weight_format, scale_dtype)


ROUND_TO_NEAREST = RoundToNearest()


def round_to_nearest(weights: Tensor, weight_format: WeightFormat, scale_dtype: torch.dtype) -> Quantised:
    """Quantise `weights` `[N, K]` with scales of `scale_dtype`; integers are rounded, to even at ties, against these.

    A group's scale never rounds to zero: it is at least the smallest number of `scale_dtype`, and 1 for a group of zeros.
    """
    groups = weights.to(torch.float32).unflatten(1, (-1, weight_format.group))
    largest = groups.abs().amax(-1)
    scales = (largest / LARGEST[weight_format.name]).to(scale_dtype)
    scales = torch.where(scales > 0, scales, torch.where(largest > 0, _smallest(scale_dtype), 1.0).to(scale_dtype))
    integers = (groups / scales.to(torch.float32).unsqueeze(-1)).round_()
    return Quantised(
        integers.clamp_(-LARGEST[weight_format.name], LARGEST[weight_format.name]).to(torch.int8).flatten(1), scales
    )


def dequantise(quantised: Quantised) -> Tensor:
    """Return the weights `[N, K]` in float32."""
    count = quantised.scales.shape[1]
    groups = quantised.integers.to(torch.float32).unflatten(1, (count, -1))
    weights: Tensor = groups * quantised.scales.to(torch.float32).unsqueeze(-1)
    return weights.flatten(1)


def _smallest(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).smallest_normal * (torch.finfo(dtype).eps if dtype == torch.float16 else 1.0)
