from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dllm_edge.export.checkpoint.safetensors import check_with_library, read_header
from dllm_edge.graphs.errors import DllmEdgeError

Change = Callable[[dict[str, Any], bytes], tuple[Any, bytes]]


def moved(name: str, begin: int, end: int) -> Change:
    return lambda header, data: (header | {name: header[name] | {"data_offsets": [begin, end]}}, data)


def reshaped(name: str, shape: list[Any]) -> Change:
    return lambda header, data: (header | {name: header[name] | {"shape": shape}}, data)


# `a` has bytes 0 to 16, `b` 16 to 24.
DAMAGES: dict[str, Change] = {
    "shifted by a byte": moved("b", 17, 25),
    "shifted back by a byte": moved("b", 15, 23),
    "the same bytes": moved("b", 0, 8),
    "a hole at the beginning": lambda header, data: ({"b": header["b"]}, data),
    "a hole in the middle": lambda header, data: (
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": header["b"]},
        data,
    ),
    "trailing bytes": lambda header, data: (header, data + b"\0"),
    "trailing tensors": lambda header, data: ({"a": header["a"]}, data),
    "too few bytes": lambda header, data: (header, data[:-1]),
    "a fractional extent": reshaped("b", [2.0]),
    "an extent as text": reshaped("b", ["2"]),
    "an extent that is true": reshaped("b", [2, True]),
    "a fractional offset": moved("b", 16, 24.0),  # type: ignore[arg-type]
    "a negative extent": reshaped("b", [-1, -2]),
    "a huge extent": reshaped("b", [2**62, 2**62]),
    "no extents": lambda header, data: (header | {"b": {"dtype": "F32", "data_offsets": [16, 24]}}, data),
    "metadata that is no text": lambda header, data: (header | {"__metadata__": {"format": 1}}, data),
}


def write(file: Path, header: Any, data: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return file


@pytest.fixture
def whole() -> tuple[dict[str, Any], bytes]:
    shapes = {"a": ([2, 2], [0, 16]), "b": ([2], [16, 24])}
    return {name: {"dtype": "F32", "shape": shape, "data_offsets": ends} for name, (shape, ends) in shapes.items()}, bytes(24)


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_the_library_refuses_is_refused(tmp_path: Path, damage: str, whole: tuple[dict[str, Any], bytes]) -> None:
    file = write(tmp_path / "model.safetensors", *DAMAGES[damage](*whole))
    with pytest.raises(SafetensorError), safe_open(file, framework="pt"):
        pass
    with pytest.raises(DllmEdgeError, match=f"^{file}: ") as caught:
        read_header(file)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("download it again")


def test_a_whole_file_is_read(tmp_path: Path, whole: tuple[dict[str, Any], bytes]) -> None:
    tensors = read_header(write(tmp_path / "model.safetensors", *whole))
    assert {name: (tensor.length, tensor.shape) for name, tensor in tensors.items()} == {"a": (16, (2, 2)), "b": (8, (2,))}


def test_empty_tensors_and_any_order_of_the_header_are_fine(tmp_path: Path) -> None:
    save_file({"z": torch.ones(3), "a": torch.empty(0, 4), "m": torch.ones(1)}, tmp_path / "model.safetensors")
    assert set(read_header(tmp_path / "model.safetensors")) == {"z", "a", "m"}


def test_a_name_that_is_there_twice(tmp_path: Path) -> None:
    entry = '{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'
    text = f'{{"a":{entry % (0, 4)},"b":{entry % (4, 8)},"a":{entry % (4, 8)}}}'
    with pytest.raises(DllmEdgeError, match="download it again"):
        read_header(write(tmp_path / "model.safetensors", text.encode(), bytes(8)))


def test_the_library_has_the_last_word(tmp_path: Path) -> None:
    file = write(tmp_path / "model.safetensors", {"__metadata__": {"a": 1}}, b"")
    with pytest.raises(DllmEdgeError, match="the safetensors library refuses it"):
        check_with_library(file)


def test_a_file_that_was_cut_since_it_was_opened(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"one": torch.arange(4.0)}, file)
    (tensor,) = read_header(file).values()
    assert tensor.read().tolist() == [0, 1, 2, 3]
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(DllmEdgeError, match=r"ends before byte .*; it changed since it was opened"):
        tensor.read()


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(DllmEdgeError, match=r"cannot be read \(it is a pipe"):
        read_header(tmp_path / "model.safetensors")
