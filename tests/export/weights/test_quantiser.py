from __future__ import annotations

import numpy as np
import pytest
import torch

from dllm_edge.export.weights.quantiser import dequantise, round_to_nearest
from dllm_edge.graphs.weight_formats import WeightFormat

from .plain_quantiser import plain_quantiser

INT8, INT4 = WeightFormat("int8", 32), WeightFormat("int4", 32)


def group(*first: float) -> torch.Tensor:
    """One row of one group, the rest of it zeros."""
    return torch.tensor([[*first, *[0.0] * (32 - len(first))]])


@pytest.mark.parametrize(
    ("row", "weight_format", "integers", "scale"),
    [
        ((7.0, -3.0, 3.4, 3.6, -3.6), INT4, (7, -3, 3, 4, -4), 1.0),
        ((-14.0, 14.0, 6.0, 2.0), INT4, (-7, 7, 3, 1), 2.0),  # a negative one is the largest
        ((7.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5), INT4, (7, 0, 2, 2, 0, -2, -2), 1.0),  # ties to even
        ((254.0, -254.0, 1.0, 3.0, 2.1), INT8, (127, -127, 0, 2, 1), 2.0),
        ((0.0,), INT4, (0,), 1.0),
        ((0.0,), INT8, (0,), 1.0),
    ],
)
def test_groups_by_hand(row: tuple[float, ...], weight_format: WeightFormat, integers: tuple[int, ...], scale: float) -> None:
    found = round_to_nearest(group(*row), weight_format, torch.float32)
    assert found.integers[0, : len(integers)].tolist() == list(integers)
    assert found.scales.tolist() == [[scale]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("weight_format", [INT8, INT4, WeightFormat("int8", 128), WeightFormat("int4", 64)], ids=str)
def test_against_a_plain_quantiser(weight_format: WeightFormat, dtype: torch.dtype) -> None:
    weights = torch.randn((24, 256), generator=torch.Generator().manual_seed(3)).to(dtype)
    found = round_to_nearest(weights, weight_format, dtype)
    integers, scales = plain_quantiser(weights, weight_format.name, weight_format.group, dtype)
    np.testing.assert_array_equal(found.integers.numpy(), integers)
    np.testing.assert_array_equal(found.scales.float().numpy(), scales)
    expected = integers * np.repeat(scales, weight_format.group, axis=1)
    np.testing.assert_array_equal(dequantise(found).numpy(), expected.astype(np.float32))


def test_scales_of_float16_never_vanish() -> None:
    found = round_to_nearest(group(1e-6, -3e-7), INT8, torch.float16)
    assert found.scales.item() == 2.0**-24
    assert found.integers[0, :2].tolist() == [17, -5]
    assert round_to_nearest(group(1e-30), INT4, torch.float16).integers.abs().max() == 0


def test_integers_are_rounded_against_the_rounded_scale() -> None:
    """11 / 7 is 1.5703125 in bfloat16; a tie of the exact scale is none of the rounded one, and the largest is cut off."""
    found = round_to_nearest(group(11.0, 10.99, 5.5), INT4, torch.bfloat16)
    assert found.scales.item() == 1.5703125
    assert found.integers[0, :3].tolist() == [7, 7, 4]
