"""Where the bytes of a stored tensor lie in a bundle."""

from __future__ import annotations

from dataclasses import dataclass

from ...graphs.dtypes import DType


@dataclass(frozen=True)
class WeightLocation:
    """`length` bytes of `file`, which is relative to the bundle, from byte `offset`: a tensor of this dtype and shape."""

    file: str
    offset: int
    length: int
    dtype: DType
    shape: tuple[int, ...]
