"""The bytes that a bundle stores for one weight of a checkpoint, through small buffers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ...graphs.contract import DType
from ...graphs.errors import DllmEdgeError
from ...graphs.weight_formats import EMBEDDING, WeightFormat
from ..checkpoint.checkpoint import LM_HEAD, Checkpoint
from .embedding_words import to_words
from .quantiser import QuantisationError, Quantised, pack, quantise

CHUNK = 8 << 20
# Quantising a chunk takes a dozen arrays of its size in float32, which should fit a cache.
QUANTISED_CHUNK = 1 << 20
# Integers that are in memory at once: a large tensor is read again for each such part of its inputs.
TILE = 32 << 20


def source_name(checkpoint: Checkpoint, name: str) -> str:
    """Where a checkpoint has the weight: the copy of a tied LM head is made of the embedding."""
    return EMBEDDING if name == LM_HEAD and checkpoint.config.tie_embeddings else name


def plain_bytes(checkpoint: Checkpoint, name: str, dtype: DType) -> Iterator[memoryview]:
    """A tensor as `dtype`, in chunks; a chunk is valid until the next is asked for.

    Raises `DllmEdgeError` for values that `dtype` cannot hold.
    """
    if checkpoint.stored(name).dtype == dtype and not checkpoint.merged(name):
        yield from raw_bytes(checkpoint, name, CHUNK)
        return
    for values in _rows(checkpoint, name, CHUNK):
        converted = values.to(getattr(torch, dtype))
        _check_range(checkpoint, name, values, converted, dtype)
        yield _bytes_of(converted)


def quantised_bytes(
    checkpoint: Checkpoint,
    name: str,
    dtype: DType,
    weight_format: WeightFormat,
    error: QuantisationError,
) -> Iterator[memoryview]:
    """A matrix as integers `[inputs, outputs]`, then its scales `[inputs / group, outputs]` as `dtype`; adds to `error`.

    Raises `DllmEdgeError` for values that `dtype` cannot hold, and for such as are no numbers.
    """
    outputs, inputs = checkpoint.stored(name).shape
    group = weight_format.group
    scales = torch.empty(inputs // group, outputs, dtype=getattr(torch, dtype))
    width = max(1, TILE // outputs // group) * group
    for first in range(0, inputs, width):
        last = min(first + width, inputs)
        tile = torch.empty(last - first, outputs, dtype=torch.int8)
        row = 0
        for values in _rows(checkpoint, name, QUANTISED_CHUNK):
            found = _quantised(checkpoint, name, values[:, first:last], dtype, weight_format, error)
            rows = slice(row, row + len(values))
            tile[:, rows], scales[first // group : last // group, rows] = found.integers.T, found.scales.T
            row += len(values)
        yield _bytes_of(pack(tile) if weight_format.name == "int4" else tile)
    yield _bytes_of(scales)


def embedding_bytes(
    checkpoint: Checkpoint, name: str, dtype: DType, weight_format: WeightFormat, error: QuantisationError
) -> Iterator[memoryview]:
    """An embedding as words of integers (`embedding_words`), then its scales `[ids, width / group]`; else as above."""
    ids, width = checkpoint.stored(name).shape
    scales = torch.empty(ids, width // weight_format.group, dtype=getattr(torch, dtype))
    row = 0
    for values in _rows(checkpoint, name, QUANTISED_CHUNK):
        found = _quantised(checkpoint, name, values, dtype, weight_format, error)
        scales[row : row + len(values)] = found.scales
        row += len(values)
        yield _bytes_of(to_words(found.integers))
    yield _bytes_of(scales)


def _quantised(
    checkpoint: Checkpoint, name: str, values: Tensor, dtype: DType, weight_format: WeightFormat, error: QuantisationError
) -> Quantised:
    wide, target = values.to(torch.float32), getattr(torch, dtype)
    _check_numbers(checkpoint, name, wide, weight_format)
    _check_range(checkpoint, name, wide, wide.to(target), dtype)
    found = quantise(wide, weight_format, target)
    error.add(wide, found)
    return found


def raw_bytes(checkpoint: Checkpoint, name: str, size: int) -> Iterator[memoryview]:
    """The bytes of a tensor on disk through one buffer of `size`: a chunk is valid until the next is asked for."""
    stored = checkpoint.stored(name)
    buffer = memoryview(bytearray(min(size, stored.length)))
    with stored.file.open("rb") as stream:
        stream.seek(stored.offset)
        left = stored.length
        while left:
            wanted = min(left, len(buffer))
            if stream.readinto(buffer[:wanted]) != wanted:
                raise DllmEdgeError(f"{stored.file}: ends within {name}; it changed since it was opened")
            left -= wanted
            yield buffer[:wanted]


def _rows(checkpoint: Checkpoint, name: str, size: int) -> Iterator[Tensor]:
    """The values of a tensor in order, `size` bytes at a time: rows of a matrix, or a part of a vector."""
    stored = checkpoint.stored(name)
    inner = stored.shape[1:]
    row = stored.length // stored.shape[0]
    count = max(1, size // row)
    if checkpoint.merged(name):
        yield from checkpoint.read(name).split(count)
        return
    for chunk in raw_bytes(checkpoint, name, count * row):
        yield torch.frombuffer(chunk, dtype=getattr(torch, stored.dtype)).reshape(-1, *inner)


def _bytes_of(values: Tensor) -> memoryview:
    return memoryview(values.reshape(-1).view(torch.uint8).numpy().data)


def _check_range(checkpoint: Checkpoint, name: str, values: Tensor, converted: Tensor, dtype: DType) -> None:
    if not torch.isfinite(converted).all() and torch.isfinite(values).all():
        raise DllmEdgeError(
            f"{checkpoint.stored(name).file}: {checkpoint.family.tensor_name(name)} has values up to "
            f"{values.abs().max().item():.4g}, outside the range of {dtype}: use --dtype bfloat16 or float32"
        )


def _check_numbers(checkpoint: Checkpoint, name: str, values: Tensor, weight_format: WeightFormat) -> None:
    if not torch.isfinite(values).all():
        raise DllmEdgeError(
            f"{checkpoint.stored(name).file}: {checkpoint.family.tensor_name(name)} has values that are no numbers, which "
            f"{weight_format.name} cannot store: the checkpoint is damaged, or leave its weights plain"
        )
