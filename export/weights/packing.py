"""Integers of 4 bits as bytes, two to each."""

from __future__ import annotations

import torch
from torch import Tensor


def pack(integers: Tensor) -> Tensor:
    """Return int8 values from -8 to 7 as uint8, two in each, the earlier one in the lower half: ONNX's order."""
    pairs = integers.flatten().view(torch.uint8).unflatten(0, (-1, 2)) & 15
    packed: Tensor = pairs[:, 0] | pairs[:, 1] << 4
    return packed


def unpack(packed: Tensor) -> Tensor:
    """Return the int8 values of bytes that `pack` made, as one row."""
    pairs = torch.stack((packed << 4, packed), -1).view(torch.int8) >> 4
    return pairs.flatten()
