"""A bundle's weight files: streamed from a checkpoint, as they are or quantised, or its own files under another name."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from ...graphs.dtypes import DTYPES, DType
from ...graphs.errors import DllmEdgeError
from ...graphs.joined_weights import stored_weights, whole_shape
from ...graphs.weight_formats import ALL_PLAIN, StoredPart, WeightFormats, weight_bytes
from ...runtime.bundle.manifest import FileRecord
from ..checkpoint.checkpoint import Checkpoint
from .encode import CHUNK, plain_bytes
from .encode_quantised import Matrix, quantised_bytes
from .location import WeightLocation
from .quantisation_error import QuantisationError
from .quantiser import ROUND_TO_NEAREST, Quantiser

FOLDER = "weights"
LARGEST_FILE = 4_000_000_000
ALIGNMENT = 64
Progress = Callable[[float], None]
Parts = tuple[StoredPart, ...]


@dataclass(frozen=True)
class Weights:
    """Where each stored tensor lies, the hash and size of each file, and what quantisation changed.

    `errors` has the quantised weights by their canonical names.
    """

    locations: dict[str, WeightLocation]
    files: dict[str, FileRecord]
    errors: dict[str, QuantisationError] = field(default_factory=dict)


@dataclass
class _Count:
    """Bytes done so far, of which `progress` hears the share."""

    total: int
    progress: Progress
    done: int = 0

    def add(self, count: int) -> None:
        self.done += count
        self.progress(self.done / max(self.total, 1))


def write_weights(
    checkpoint: Checkpoint,
    bundle: Path,
    stored_dtype: DType,
    progress: Progress,
    formats: WeightFormats = ALL_PLAIN,
    largest_file: int = LARGEST_FILE,
    quantiser: Quantiser = ROUND_TO_NEAREST,
    joined: bool = False,
) -> Weights:
    """Write the checkpoint's tensors as `stored_dtype` or as `formats` has them to `bundle`/weights/*.safetensors.

    With `joined`, weights of the same input are one tensor (`graphs.joined_weights`).
    Bytes pass through small buffers; only a tensor with a merged adapter, the scales of one tensor, and a matrix whose
    quantiser does not work by groups are in memory whole. Tensors start at multiples of 64 bytes. Raises `DllmEdgeError` for
    values that cannot be stored so, OSError where writing fails.
    """
    shapes = formats.shapes(checkpoint.config)
    stored = stored_weights(shapes, joined)
    parts = {name: formats.parts(name, whole_shape(members), stored_dtype) for name, members in stored.items()}
    groups = _groups(parts, largest_file)
    count = _Count(weight_bytes(checkpoint.config, stored_dtype, formats), progress)
    matrices = {
        name: Matrix(checkpoint, name, weight_format, stored_dtype, quantiser, QuantisationError())
        for name, shape in shapes.items()
        if (weight_format := formats.of(name, shape)).quantised
    }
    weights = Weights({}, {}, {name: matrix.error for name, matrix in matrices.items()})

    def plain(name: str) -> Iterator[memoryview]:
        return plain_bytes(checkpoint, checkpoint.source(name), stored_dtype)

    (bundle / FOLDER).mkdir()
    for index, group in enumerate(groups):
        file = f"{FOLDER}/model-{index + 1:05d}-of-{len(groups):05d}.safetensors"
        names = _in_order(group)
        header, locations = _layout([part for name in names for part in group[name]], file)
        weights.locations.update(locations)
        tensors = (
            quantised_bytes([matrices[member] for member in stored[name]])
            if stored[name].keys() <= matrices.keys()
            else chain.from_iterable(map(plain, stored[name]))
            for name in names
        )
        with (bundle / file).open("xb", buffering=0) as stream:
            weights.files[file] = _write_file(stream, header, tensors, count)
    return weights


def link_weights(checkpoint: Checkpoint, bundle: Path, stored_dtype: DType, progress: Progress) -> Weights:
    """Hard-link the checkpoint's files into `bundle`/weights and point into them; nothing is written but directory entries.

    Raises `DllmEdgeError` where the stored bytes are not what the graphs need, or the file system cannot link.
    """
    locations: dict[str, WeightLocation] = {}
    sources: dict[str, Path] = {}
    for name in checkpoint.names():
        stored = checkpoint.stored(name)
        if checkpoint.merged(name):
            raise DllmEdgeError("--link and --lora do not go together: the adapter changes the weights, leave out --link")
        if stored.dtype != stored_dtype:
            raise DllmEdgeError(
                f"{stored.file}: {checkpoint.family.tensor_name(name)} is stored as {stored.dtype}, which --link cannot turn "
                f"into {stored_dtype}: leave out --link, or use --dtype {stored.dtype}"
            )
        file = f"{FOLDER}/{stored.file.name}"
        sources[file] = stored.file.resolve()
        locations[name] = WeightLocation(file, stored.offset, stored.length, stored_dtype, stored.shape)
    count = _Count(sum(source.stat().st_size for source in sources.values()), progress)
    files = {}
    (bundle / FOLDER).mkdir()
    for file, source in sources.items():
        _link(source, bundle / file)
        names = [name for name, location in locations.items() if location.file == file]
        files[file] = _read_file(checkpoint, sorted(names, key=lambda name: locations[name].offset), source, count)
    return Weights(locations, files)


def _read_file(checkpoint: Checkpoint, names: Sequence[str], source: Path, count: _Count) -> FileRecord:
    """Return the hash and size of a file of the checkpoint, its tensors `names`, in their order, checked as they are read."""
    digest, size = hashlib.sha256(), 0

    def add(chunk: memoryview) -> None:
        nonlocal size
        digest.update(chunk)
        size += len(chunk)
        count.add(len(chunk))

    for name in names:
        stored = checkpoint.stored(name)
        for chunk in chain(_bytes_between(source, size, stored.offset), plain_bytes(checkpoint, name, stored.dtype)):
            add(chunk)
    for chunk in _bytes_between(source, size, source.stat().st_size):
        add(chunk)
    return FileRecord(digest.hexdigest(), size)


def _bytes_between(file: Path, start: int, stop: int) -> Iterator[memoryview]:
    with file.open("rb") as stream:
        stream.seek(start)
        for begin in range(start, stop, CHUNK):
            yield memoryview(stream.read(min(CHUNK, stop - begin)))


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


def _groups(parts: Mapping[str, Parts], largest_file: int) -> list[dict[str, Parts]]:
    """Return the weights of each file."""
    groups: list[dict[str, Parts]] = []
    filled = largest_file
    for name, own in parts.items():
        length = sum(part.length for part in own)
        if filled + length > largest_file or not groups:
            groups.append({})
            filled = 0
        groups[-1][name] = own
        filled += length
    return groups


def _in_order(group: Mapping[str, Parts]) -> list[str]:
    """Return the weights of one file: those of odd lengths come last, since safetensors allows no gaps between tensors."""
    return sorted(group, key=lambda name: any(part.length % ALIGNMENT for part in group[name]))


def _layout(parts: list[StoredPart], file: str) -> tuple[bytes, dict[str, WeightLocation]]:
    """Return the header of a file of these tensors in this order, and where each will lie."""
    begins: dict[str, int] = {}
    entries: dict[str, Any] = {}
    offset = 0
    for part in parts:
        begins[part.name], end = offset, offset + part.length
        shape = [part.length] if part.dtype == "int4" else list(part.shape)
        entries[part.name] = {"dtype": DTYPES[part.dtype].safetensors, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps({"__metadata__": {"format": "pt"}} | entries, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    header = len(text).to_bytes(8, "little") + text
    locations = {
        part.name: WeightLocation(file, len(header) + begins[part.name], part.length, part.dtype, part.shape) for part in parts
    }
    return header, locations


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
