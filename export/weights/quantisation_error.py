"""What quantisation changed in a tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .quantiser import Quantised, dequantise


@dataclass
class QuantisationError:
    """What quantisation changed in one tensor, added up over its parts.

    `largest` is the largest change of a weight as a share of its group's scale: a half where weights are rounded to nearest,
    or little more where a scale was rounded down.
    """

    squared_change: float = 0.0
    squared_norm: float = 0.0
    largest: float = 0.0

    def add(self, weights: Tensor, quantised: Quantised) -> None:
        """Count what became of `weights` `[N, K]` float32."""
        change = dequantise(quantised) - weights
        self.squared_change += float(change.square().sum())
        self.squared_norm += float(weights.square().sum())
        shares = change.unflatten(1, (quantised.scales.shape[1], -1)).abs().amax(-1) / quantised.scales.to(torch.float32)
        self.largest = max(self.largest, float(shares.max()))

    @property
    def relative(self) -> float:
        """Frobenius norm of the change over that of the weights; 0 for a tensor of zeros."""
        return math.sqrt(self.squared_change / self.squared_norm) if self.squared_norm else 0.0
