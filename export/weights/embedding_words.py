"""An embedding as integers: rows of int8 in words of int32, since TensorRT gathers rows of int32 but none of int8.

Word i of a row of H weights holds four of them, those at i, i + H/4, i + H/2 and i + 3H/4, the last in the highest byte.
The first three are stored with 127 added, so that they are never negative: with `low` below 2^24 - 2^16, a word rounded to
float32 still shows its highest byte. Every step from a word to its weights is exact. A graph takes words apart in
`export.onnx.gather_embedding`.
"""

from __future__ import annotations

import torch
from torch import Tensor

BIAS = 127


def to_words(integers: Tensor) -> Tensor:
    """Return words `[V, H / 4]` int32 of integers `[V, H]` int8, from -127 to 127."""
    quarters = integers.to(torch.int32).unflatten(1, (4, -1))
    low = quarters[:, :3] + BIAS
    words: Tensor = low[:, 0] + (low[:, 1] << 8) + (low[:, 2] << 16) + (quarters[:, 3] << 24)
    return words


def from_words(words: Tensor) -> Tensor:
    """Return the integers of `to_words`."""
    low = torch.stack((words & 255, (words >> 8) & 255, (words >> 16) & 255), 1) - BIAS
    return torch.cat((low, (words >> 24).unsqueeze(1)), 1).flatten(1).to(torch.int8)
