"""A bundle's weight files: streamed from a checkpoint, or its own files under another name."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

import torch

from ..graphs.contract import ITEM_SIZES, DType
from ..graphs.errors import DllmEdgeError
from ..runtime.bundle import sha256_of
from ..runtime.manifest import FileRecord
from .checkpoint import Checkpoint
from .onnx import WeightPlace

FOLDER = "weights"
LARGEST_FILE = 4_000_000_000
ALIGNMENT = 64
CHUNK = 8 << 20
SAFETENSORS_TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Weights:
    """Where each canonical tensor lies, and the hash and size of each file, both relative to the bundle."""

    places: dict[str, WeightPlace]
    files: dict[str, FileRecord]


@dataclass
class _Count:
    """Bytes done so far, told as a fraction."""

    total: int
    progress: Progress
    done: int = 0

    def add(self, count: int) -> None:
        self.done += count
        self.progress(self.done / max(self.total, 1))


def weight_bytes(checkpoint: Checkpoint, dtype: DType) -> int:
    """Bytes of all tensors of a checkpoint, stored as `dtype`."""
    return sum(prod(checkpoint.stored(name).shape) * ITEM_SIZES[dtype] for name in checkpoint.names())


def write_weights(
    checkpoint: Checkpoint, bundle: Path, dtype: DType, progress: Progress, largest_file: int = LARGEST_FILE
) -> Weights:
    """Write the checkpoint's tensors as `dtype` under their canonical names to `bundle`/weights/*.safetensors.

    Bytes pass through one small buffer; only a tensor with a merged adapter is in memory whole. Tensors start at
    multiples of 64 bytes. Raises `DllmEdgeError` for values that `dtype` cannot hold, OSError where writing fails.
    """
    groups = _groups(checkpoint, dtype, largest_file)
    count = _Count(weight_bytes(checkpoint, dtype), progress)
    weights = Weights({}, {})
    (bundle / FOLDER).mkdir()
    for index, names in enumerate(groups):
        file = f"{FOLDER}/model-{index + 1:05d}-of-{len(groups):05d}.safetensors"
        header, places = _layout(checkpoint, names, file, dtype)
        weights.places.update(places)
        with (bundle / file).open("xb", buffering=0) as stream:
            weights.files[file] = _write_file(stream, header, (_converted(checkpoint, name, dtype) for name in places), count)
    return weights


def link_weights(checkpoint: Checkpoint, bundle: Path, dtype: DType, progress: Progress) -> Weights:
    """Hard-link the checkpoint's files into `bundle`/weights and point into them; nothing is written but directory entries.

    Raises `DllmEdgeError` where the stored bytes are not what the graphs need, or the file system cannot link.
    """
    places, sources = {}, {}
    for name in checkpoint.names():
        stored = checkpoint.stored(name)
        if checkpoint.merged(name):
            raise DllmEdgeError("--link and --lora do not go together: the adapter changes the weights, leave out --link")
        if stored.dtype != dtype:
            raise DllmEdgeError(
                f"{stored.file}: {checkpoint.family.tensor_name(name)} is stored as {stored.dtype}, which --link cannot turn "
                f"into {dtype}: leave out --link, or use --dtype {stored.dtype}"
            )
        file = f"{FOLDER}/{stored.file.name}"
        sources[file] = stored.file.resolve()
        places[name] = WeightPlace(file, stored.offset, stored.length, dtype, stored.shape)
    count = _Count(sum(source.stat().st_size for source in sources.values()), progress)
    files = {}
    (bundle / FOLDER).mkdir()
    for file, source in sources.items():
        _link(source, bundle / file)
        files[file] = FileRecord(sha256_of(source), source.stat().st_size)
        count.add(files[file].size)
    return Weights(places, files)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES):
            raise
        raise DllmEdgeError(
            f"{source}: cannot be hard-linked to {target.parent.parent.parent} ({error.strerror}): "
            "leave out --link, or put the bundle on the checkpoint's file system"
        ) from error


def _groups(checkpoint: Checkpoint, dtype: DType, largest_file: int) -> list[list[str]]:
    groups: list[list[str]] = []
    filled = largest_file
    for name in checkpoint.names():
        length = prod(checkpoint.stored(name).shape) * ITEM_SIZES[dtype]
        if filled + length > largest_file or not groups:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += length
    return groups


def _layout(checkpoint: Checkpoint, names: list[str], file: str, dtype: DType) -> tuple[bytes, dict[str, WeightPlace]]:
    """The header of a file and its tensors' places, in the order of their bytes.

    Safetensors allows no gaps between tensors, so those of odd lengths come last.
    """
    lengths = {name: prod(checkpoint.stored(name).shape) * ITEM_SIZES[dtype] for name in names}
    begins, entries, offset = {}, {}, 0
    for name in sorted(names, key=lambda name: lengths[name] % ALIGNMENT != 0):
        begins[name], end = offset, offset + lengths[name]
        shape = list(checkpoint.stored(name).shape)
        entries[name] = {"dtype": SAFETENSORS_TYPES[dtype], "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps({"__metadata__": {"format": "pt"}} | entries, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    header = len(text).to_bytes(8, "little") + text
    places = {
        name: WeightPlace(file, len(header) + begin, lengths[name], dtype, checkpoint.stored(name).shape)
        for name, begin in begins.items()
    }
    return header, places


def _write_file(stream: BinaryIO, header: bytes, tensors: Iterator[Iterator[memoryview]], count: _Count) -> FileRecord:
    digest, size = hashlib.sha256(header), _write(stream, memoryview(header))
    for tensor in tensors:
        for chunk in tensor:
            digest.update(chunk)
            size += _write(stream, chunk)
            count.add(len(chunk))
    os.fsync(stream.fileno())
    return FileRecord(digest.hexdigest(), size)


def _write(stream: BinaryIO, data: memoryview) -> int:
    """Write all of `data`: an unbuffered write may stop early, as on a disk that is filling up."""
    written = 0
    while written < len(data):
        written += stream.write(data[written:])
    return written


def _converted(checkpoint: Checkpoint, name: str, dtype: DType) -> Iterator[memoryview]:
    """The bytes of a tensor as `dtype`, in chunks."""
    target = getattr(torch, dtype)
    if checkpoint.stored(name).dtype == dtype and not checkpoint.merged(name):
        yield from _raw(checkpoint, name)
        return
    for values in _values(checkpoint, name):
        converted = values.to(target)
        if not torch.isfinite(converted).all() and torch.isfinite(values).all():
            raise DllmEdgeError(
                f"{checkpoint.stored(name).file}: {checkpoint.family.tensor_name(name)} has values up to "
                f"{values.abs().max().item():.4g}, outside the range of {dtype}: use --dtype bfloat16 or float32"
            )
        yield memoryview(converted.view(torch.uint8).numpy().data)


def _values(checkpoint: Checkpoint, name: str) -> Iterator[torch.Tensor]:
    """The values of a tensor in order, in flat parts."""
    if checkpoint.merged(name):
        yield from checkpoint.read(name).reshape(-1).split(CHUNK)
        return
    stored = getattr(torch, checkpoint.stored(name).dtype)
    for chunk in _raw(checkpoint, name):
        yield torch.frombuffer(chunk, dtype=stored)


def _raw(checkpoint: Checkpoint, name: str) -> Iterator[memoryview]:
    """The bytes of a tensor on disk through one buffer: a chunk is valid until the next is asked for."""
    stored = checkpoint.stored(name)
    buffer = memoryview(bytearray(min(CHUNK, stored.length)))
    with stored.file.open("rb") as stream:
        stream.seek(stored.offset)
        left = stored.length
        while left:
            count = stream.readinto(buffer[: min(left, CHUNK)])
            if not count:
                raise DllmEdgeError(f"{stored.file}: ends within {name}; it changed since it was opened")
            left -= count
            yield buffer[:count]
