"""A linear layer whose weights may be stored in another dtype than it computes in."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Linear):
    """A linear layer whose stored weights are cast to the dtype of what comes in (a bundle's float32-compute twin)."""

    def forward(self, states: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(states.dtype)
        return F.linear(states, self.weight.to(states.dtype), bias)
