"""log(1 + x) of operators that every reader of the graphs has, exact to float32's relative precision."""

from __future__ import annotations

import torch
from torch import Tensor

SERIES_BELOW = 1 / 6


def log1p(x: Tensor) -> Tensor:
    """Return log(1 + x) of x >= 0, float32, to 5e-7 of itself.

    ONNX has no such operator. Below `SERIES_BELOW` it is the series 2 (s + s^3 / 3 + s^5 / 5) of s = x / (2 + x), whose rest
    is 3e-8 of it: unlike a correction of log(1 + x) by what 1 + x was rounded, it holds where a compiler reorders sums, and
    where a device's logarithm is poor near 1, as the fast ones of GPUs are.
    """
    ratio = x / (x + 2)
    square = ratio * ratio
    series = ratio * (square * (square * (2 / 5) + 2 / 3) + 2)
    return torch.where(x < SERIES_BELOW, series, torch.log(x + 1))
