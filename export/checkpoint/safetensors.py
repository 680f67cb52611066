"""Where the tensors of a safetensors file lie: its header read as JSON, checked against the file's size.

The layout is eight bytes of header length (little endian), the header, then the data that its offsets count from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ...graphs.dtypes import DTYPES, FLOATS, DType, safetensors_dtypes
from ...graphs.errors import DllmEdgeError
from ...graphs.schema import whole_number
from ...runtime.bundle.regular_file import open_regular
from ..json_file import read_object

# By their names in the header: what a checkpoint may hold, and what a bundle's own files hold, whose quantised weights of
# 4 bits are bytes.
CHECKPOINT_DTYPES = safetensors_dtypes(FLOATS)
BUNDLE_DTYPES = safetensors_dtypes((*FLOATS, "int8", "uint8", "int32"))
LONGEST_HEADER = 100_000_000  # the limit of the safetensors library
INDEX = "model.safetensors.index.json"
AGAIN = "the file is damaged: download it again"


@dataclass(frozen=True)
class StoredTensor:
    """One tensor on disk: `length` bytes of `file` from byte `offset`, row-major, little endian.

    `dtype` is float32, float16 or bfloat16; in a bundle's own files also int8, uint8 or int32.
    """

    file: Path
    offset: int
    length: int
    dtype: DType
    shape: tuple[int, ...]

    def read(self) -> torch.Tensor:
        """Return the tensor in its own dtype, in memory of its own."""
        buffer = bytearray(self.length)
        with self.file.open("rb") as stream:
            stream.seek(self.offset)
            if stream.readinto(buffer) != self.length:
                raise DllmEdgeError(
                    f"{self.file}: ends before byte {self.offset + self.length}; it changed since it was opened"
                )
        return torch.frombuffer(buffer, dtype=getattr(torch, self.dtype)).reshape(self.shape)


def read_header(file: Path, dtypes: Mapping[str, DType] = CHECKPOINT_DTYPES) -> dict[str, StoredTensor]:
    """Return the tensors of one safetensors file by name; `dtypes` are the supported ones by their names in the header.

    Raises `DllmEdgeError` for a damaged file, for a tensor of another dtype, and for what the safetensors library refuses.
    """
    try:
        size = file.stat().st_size
        with open_regular(file) as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(size - 8, LONGEST_HEADER):
                raise DllmEdgeError(f"{file}: its header says {length} bytes, the file has {size}; {AGAIN}")
            entries = json.loads(stream.read(length))
    except OSError as error:
        raise DllmEdgeError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DllmEdgeError(f"{file}: its header is not valid JSON; {AGAIN}") from error
    if not isinstance(entries, dict):
        raise DllmEdgeError(f"{file}: its header is no JSON object; {AGAIN}")
    entries.pop("__metadata__", None)
    tensors = {name: stored_tensor(file, name, entry, 8 + length, size, dtypes) for name, entry in entries.items()}
    check_layout(file, tensors, 8 + length, size)
    check_with_library(file)
    return tensors


def check_layout(file: Path, tensors: Mapping[str, StoredTensor], start: int, size: int) -> None:
    """Raise `DllmEdgeError` unless the tensors fill the bytes from `start` to `size`, one after the other."""
    end = start
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].offset, item[1].length)):
        if tensor.offset != end:
            wrong = "overlaps the one before it" if tensor.offset < end else f"leaves {tensor.offset - end} bytes before it"
            raise DllmEdgeError(f"{file}: {name} begins at byte {tensor.offset} and {wrong}; {AGAIN}")
        end += tensor.length
    if end != size:
        raise DllmEdgeError(f"{file}: its tensors end at byte {end}, the file has {size}; {AGAIN}")


def check_with_library(file: Path) -> None:
    """Raise `DllmEdgeError` for what the safetensors library refuses; it maps the file and reads its header alone."""
    try:
        with safe_open(file, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise DllmEdgeError(f"{file}: the safetensors library refuses it ({error}); {AGAIN}") from error


def stored_tensor(file: Path, name: str, entry: Any, start: int, size: int, dtypes: Mapping[str, DType]) -> StoredTensor:
    """Return the tensor of one header entry, whose offsets count from byte `start` of a file of `size` bytes."""
    try:
        code, shape = str(entry["dtype"]), tuple(whole_number(extent, "an extent") for extent in entry["shape"])
        begin, end = (whole_number(offset, "an offset") for offset in entry["data_offsets"])
    except (DllmEdgeError, KeyError, TypeError, ValueError) as error:
        raise DllmEdgeError(f"{file}: malformed header entry of {name} ({error}); {AGAIN}") from error
    if code not in dtypes:
        raise DllmEdgeError(f"{file}: {name} is stored as {code}; supported: {', '.join(dtypes)}: use the original checkpoint")
    if end - begin != DTYPES[dtypes[code]].nbytes(math.prod(shape)):
        raise DllmEdgeError(f"{file}: {name} has {end - begin} bytes for {code} {list(shape)}; {AGAIN}")
    if start + end > size:
        raise DllmEdgeError(
            f"{file}: {name} ends at byte {start + end}, the file has {size}: it is truncated, download it again"
        )
    return StoredTensor(file, start + begin, end - begin, dtypes[code], shape)


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a checkpoint folder: of `model.safetensors`, the shards in its index, or what shards there are."""
    if (folder / "model.safetensors").is_file():
        return read_header(folder / "model.safetensors")
    if (folder / INDEX).is_file():
        return indexed_tensors(folder)
    files = sorted(folder.glob("model-*.safetensors")) or other_files(folder)
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        shard = read_header(file)
        if twice := sorted(tensors.keys() & shard.keys()):
            raise DllmEdgeError(
                f"{folder}: {twice[0]} is in {tensors[twice[0]].file.name} and in {file.name}: remove one of them"
            )
        tensors |= shard
    return tensors


def other_files(folder: Path) -> list[Path]:
    """Return the safetensors files of other names but adapters; raises `DllmEdgeError` where there are none."""
    files = [file for file in sorted(folder.glob("*.safetensors")) if not file.name.startswith("adapter_")]
    if files:
        return files
    pickles = [file.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in sorted(folder.glob(pattern))]
    if pickles:
        raise DllmEdgeError(
            f"{folder}: the weights are pickled ({pickles[0]}), and reading pickles can run code: where you trust them, "
            "load them with transformers and write safetensors with save_pretrained"
        )
    raise DllmEdgeError(f"{folder}: there are no *.safetensors files: give a whole Hugging Face folder")


def indexed_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Return the tensors that `model.safetensors.index.json` lists, from the shards that it names."""
    weight_map = read_object(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise DllmEdgeError(f"{folder / INDEX}: its weight_map is missing or malformed: download it again")
    headers: dict[str, dict[str, StoredTensor]] = {}
    for shard in sorted(set(weight_map.values())):
        if Path(shard).name != shard:
            raise DllmEdgeError(f"{folder / INDEX}: names the file {shard!r}, which is not in this folder: download it again")
        if not (folder / shard).is_file():
            raise DllmEdgeError(f"{folder}: {shard}, which the index names, is missing: download it")
        headers[shard] = read_header(folder / shard)
    for name, shard in weight_map.items():
        if name not in headers[shard]:
            raise DllmEdgeError(f"{folder}: {shard} does not hold {name}, which the index says it does: download both again")
    return {name: headers[shard][name] for name, shard in weight_map.items()}
