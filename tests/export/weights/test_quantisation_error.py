from __future__ import annotations

import pytest
import torch

from dllm_edge.export.weights.quantisation_error import QuantisationError
from dllm_edge.export.weights.quantiser import round_to_nearest
from dllm_edge.graphs.weight_formats import WeightFormat

INT4 = WeightFormat("int4", 32)


def test_errors_add_up() -> None:
    weights = torch.tensor([[7.0, 0.5, 3.25, *[0.0] * 29]])
    error, twice = QuantisationError(), QuantisationError()
    error.add(weights, round_to_nearest(weights, INT4, torch.float32))
    assert error.relative == pytest.approx(((0.5**2 + 0.25**2) / (49 + 0.25 + 3.25**2)) ** 0.5)
    assert error.largest == 0.5
    for _ in range(2):
        twice.add(weights, round_to_nearest(weights, INT4, torch.float32))
    assert twice.relative == pytest.approx(error.relative)
    assert QuantisationError().relative == 0.0
