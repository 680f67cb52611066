"""The bytes that a bundle stores for one plain weight of a checkpoint, through small buffers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ...graphs.dtypes import DType
from ...graphs.errors import DllmEdgeError
from ..checkpoint.checkpoint import Checkpoint
from .finite import all_finite, finite

CHUNK = 8 << 20


def plain_bytes(checkpoint: Checkpoint, name: str, stored_dtype: DType) -> Iterator[memoryview]:
    """Yield a tensor as `stored_dtype`, in chunks; a chunk is valid until the next is asked for.

    Raises `DllmEdgeError` for values that `stored_dtype` cannot hold, and for such as are no numbers.
    """
    if checkpoint.stored(name).dtype == stored_dtype and not checkpoint.merged(name):
        dtype = getattr(torch, stored_dtype)
        chunks = (torch.frombuffer(chunk, dtype=dtype) for chunk in raw_bytes(checkpoint, name, CHUNK))
        yield from map(bytes_of, finite(checkpoint, name, chunks))
        return
    for values in rows_of(checkpoint, name, CHUNK):
        converted = values.to(getattr(torch, stored_dtype))
        check_range(checkpoint, name, values, converted, stored_dtype)
        yield bytes_of(converted)


def raw_bytes(checkpoint: Checkpoint, name: str, size: int) -> Iterator[memoryview]:
    """Yield the bytes of a tensor on disk through one buffer of `size`: a chunk is valid until the next is asked for."""
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


def rows_of(checkpoint: Checkpoint, name: str, size: int) -> Iterator[Tensor]:
    """Yield the values of a tensor in order, `size` bytes at a time: rows of a matrix, or a part of a vector.

    Raises `DllmEdgeError` for such as are no numbers.
    """
    yield from finite(checkpoint, name, _rows(checkpoint, name, size))


def _rows(checkpoint: Checkpoint, name: str, size: int) -> Iterator[Tensor]:
    stored = checkpoint.stored(name)
    inner = stored.shape[1:]
    row = stored.length // stored.shape[0]
    count = max(1, size // row)
    if checkpoint.merged(name):
        yield from checkpoint.read(name).split(count)
        return
    for chunk in raw_bytes(checkpoint, name, count * row):
        yield torch.frombuffer(chunk, dtype=getattr(torch, stored.dtype)).reshape(-1, *inner)


def bytes_of(values: Tensor) -> memoryview:
    """Return the bytes of a tensor in row-major order."""
    return memoryview(values.reshape(-1).view(torch.uint8).numpy().data)


def check_range(checkpoint: Checkpoint, name: str, values: Tensor, converted: Tensor, dtype: DType) -> None:
    """Raise `DllmEdgeError` where finite `values` of a tensor are not so as `dtype`, which `converted` has."""
    if all_finite(converted):
        return
    beyond = values[torch.isfinite(values) & ~torch.isfinite(converted)]
    if len(beyond):
        raise DllmEdgeError(
            f"{checkpoint.stored(name).file}: {checkpoint.family.tensor_name(name)} has values up to "
            f"{beyond.abs().max().item():.4g}, outside the range of {dtype}: use --dtype bfloat16 or float32"
        )
