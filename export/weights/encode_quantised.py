"""The bytes that a bundle stores for one quantised weight of a checkpoint: through small buffers, where its quantiser allows.

A quantiser that does not work by groups has one matrix in memory at a time: in float32, with what it makes of it and of
those that are joined to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...graphs.dtypes import DType
from ...graphs.errors import DllmEdgeError
from ...graphs.parameters import EMBEDDING
from ...graphs.weight_formats import WeightFormat
from ..checkpoint.checkpoint import Checkpoint
from .embedding_words import to_words
from .encode import bytes_of, check_range, rows_of
from .finite import all_finite, finite
from .packing import pack
from .quantisation_error import QuantisationError
from .quantiser import Quantised, Quantiser

# Quantising a chunk takes a dozen arrays of its size in float32, which should fit a cache.
CHUNK = 1 << 20
# Integers that are in memory at once: a large tensor is read again for each such part of its inputs.
TILE = 32 << 20


@dataclass(frozen=True)
class Matrix:
    """A weight of a bundle that is made of a checkpoint's and stored as integers; what that changes is added to `error`.

    Its bytes are asked for once. Whoever does raises `DllmEdgeError` for values that `scale_dtype` cannot hold, and for such
    as are no numbers.
    """

    checkpoint: Checkpoint
    name: str
    weight_format: WeightFormat
    scale_dtype: DType
    quantiser: Quantiser
    error: QuantisationError

    @property
    def source(self) -> str:
        return self.checkpoint.source(self.name)

    @property
    def shape(self) -> tuple[int, int]:
        outputs, inputs = self.checkpoint.stored(self.source).shape
        return outputs, inputs

    def new_scales(self, *shape: int) -> Tensor:
        return torch.empty(*shape, dtype=getattr(torch, self.scale_dtype))

    def quantised_rows(self, first: int, last: int) -> Iterator[tuple[slice, Quantised]]:
        """Yield some rows at a time of the inputs from `first` to `last`, or all rows at once, and which they are."""
        row = 0
        for values in self._rows():
            yield slice(row, row + len(values)), self._quantised(values[:, first:last])
            row += len(values)

    def _rows(self) -> Iterator[Tensor]:
        if self.quantiser.by_groups:
            yield from rows_of(self.checkpoint, self.source, CHUNK)
        else:
            yield from finite(self.checkpoint, self.source, [self.checkpoint.read(self.source)])

    def _quantised(self, values: Tensor) -> Quantised:
        wide, scale_dtype = values.to(torch.float32), getattr(torch, self.scale_dtype)
        self._check_numbers(wide)
        check_range(self.checkpoint, self.source, wide, wide.to(scale_dtype), self.scale_dtype)
        quantised = self.quantiser.quantise(self.name, wide, self.weight_format, scale_dtype)
        assert (quantised.integers.dtype, quantised.scales.dtype) == (torch.int8, scale_dtype)
        self.error.add(wide, quantised)
        return quantised

    def _check_numbers(self, values: Tensor) -> None:
        if not all_finite(values):
            raise DllmEdgeError(
                f"{self.checkpoint.stored(self.source).file}: {self.checkpoint.family.tensor_name(self.source)} has values "
                f"that are no numbers, which {self.weight_format.name} cannot store: the checkpoint is damaged, or leave its "
                "weights plain"
            )


def quantised_bytes(matrices: Sequence[Matrix]) -> Iterator[memoryview]:
    """Yield a matrix, integers before scales, laid out for its use: an embedding's rows are gathered, all others multiply.

    Several, of the same inputs and format, are one: the rows of each after those of the one before.
    """
    return _embedding_bytes(matrices[0]) if matrices[0].name == EMBEDDING else _linear_bytes(matrices)


def _linear_bytes(matrices: Sequence[Matrix]) -> Iterator[memoryview]:
    """Yield a linear weight as integers `[inputs, outputs]`, then its scales `[inputs / group, outputs]`."""
    outputs, inputs = sum(matrix.shape[0] for matrix in matrices), matrices[0].shape[1]
    group = matrices[0].weight_format.group
    scales = matrices[0].new_scales(inputs // group, outputs)
    for first, last in _tiles(matrices[0], outputs):
        tile = torch.empty(last - first, outputs, dtype=torch.int8)
        for rows, quantised in _rows_of_all(matrices, first, last):
            tile[:, rows], scales[first // group : last // group, rows] = quantised.integers.T, quantised.scales.T
        yield bytes_of(pack(tile) if matrices[0].weight_format.name == "int4" else tile)
    yield bytes_of(scales)


def _tiles(matrix: Matrix, outputs: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last input of each part that is in memory at once, of that many outputs and in whole groups."""
    inputs, group = matrix.shape[1], matrix.weight_format.group
    width = max(1, TILE // outputs // group) * group if matrix.quantiser.by_groups else inputs
    for first in range(0, inputs, width):
        yield first, min(first + width, inputs)


def _rows_of_all(matrices: Sequence[Matrix], first: int, last: int) -> Iterator[tuple[slice, Quantised]]:
    """Yield as `Matrix.quantised_rows` does, each matrix' rows counted from the end of the one before."""
    begin = 0
    for matrix in matrices:
        for rows, quantised in matrix.quantised_rows(first, last):
            yield slice(begin + rows.start, begin + rows.stop), quantised
        begin += matrix.shape[0]


def _embedding_bytes(matrix: Matrix) -> Iterator[memoryview]:
    """Yield an embedding as words of integers (`embedding_words`), then its scales `[ids, width / group]`."""
    ids, width = matrix.shape
    scales = matrix.new_scales(ids, width // matrix.weight_format.group)
    for rows, quantised in matrix.quantised_rows(0, width):
        scales[rows] = quantised.scales
        yield bytes_of(to_words(quantised.integers))
    yield bytes_of(scales)
