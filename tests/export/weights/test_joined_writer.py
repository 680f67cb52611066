"""Weights that are stored joined hold what their members hold apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dllm_edge.export.checkpoint.checkpoint import Checkpoint
from dllm_edge.export.weights import encode_quantised
from dllm_edge.export.weights.packing import unpack
from dllm_edge.export.weights.writer import Weights, write_weights
from dllm_edge.graphs.joined_weights import stored_weights
from dllm_edge.graphs.weight_formats import ALL_PLAIN, WeightFormat, WeightFormats, weight_bytes

from ...tiny import write_tiny
from ..checkpoint.test_lora import write_adapter
from .test_whole_matrices import OneScale

INT8, INT4 = WeightFormats(WeightFormat("int8", 32)), WeightFormats(WeightFormat("int4", 32))


def silent(_: float) -> None:
    pass


def written(folder: Path, weights: Weights) -> dict[str, torch.Tensor]:
    tensors = {name: tensor for file in weights.files for name, tensor in load_file(folder / file).items()}
    shapes = {name: location.shape for name, location in weights.locations.items()}
    return {name: unpack(tensor).reshape(shapes[name]) if tensor.dtype == torch.uint8 else tensor
            for name, tensor in tensors.items()}  # fmt: skip


@pytest.mark.parametrize("by_groups", [True, False])
@pytest.mark.parametrize("formats", [ALL_PLAIN, INT8, INT4], ids=["plain", "int8", "int4"])
def test_the_rows_of_each_follow_those_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, formats: WeightFormats, by_groups: bool
) -> None:
    """Whether a matrix passes in small parts or comes whole; integers have their outputs last, so rows are columns there."""
    monkeypatch.setattr(encode_quantised, "CHUNK", 1000)
    monkeypatch.setattr(encode_quantised, "TILE", 96 * 32)
    checkpoint = Checkpoint.open(write_tiny(tmp_path / "checkpoint", "dream", dtype="bfloat16", tokenizer=False))
    quantiser = {} if by_groups else {"quantiser": OneScale()}
    for name in ("apart", "joined"):
        (tmp_path / name).mkdir()
    apart = write_weights(checkpoint, tmp_path / "apart", "float16", silent, formats, **quantiser)  # type: ignore[arg-type]
    joined = write_weights(checkpoint, tmp_path / "joined", "float16", silent, formats, joined=True, **quantiser)  # type: ignore[arg-type]
    tensors, wholes = written(tmp_path / "apart", apart), written(tmp_path / "joined", joined)
    assert "layers.0.query_key_value.bias" in wholes
    for name, members in stored_weights(dict.fromkeys(formats.shapes(checkpoint.config), (1,)), joined=True).items():
        for end in [""] if name in wholes else [".integers", ".scales"]:
            parts = [tensors[member + end] for member in members]
            assert torch.equal(wholes[name + end], torch.cat(parts, dim=-1 if end else 0))
    assert {name: error.relative for name, error in joined.errors.items()} == pytest.approx(
        {name: error.relative for name, error in apart.errors.items()}
    )
    total = weight_bytes(checkpoint.config, "float16", formats)
    assert sum(location.length for location in joined.locations.values()) == total


def test_joined_weights_are_in_one_file_and_an_adapter_is_merged_into_its_rows(tmp_path: Path) -> None:
    write_tiny(tmp_path / "checkpoint", "llada", tokenizer=False)
    write_adapter(tmp_path / "adapter")
    checkpoint = Checkpoint.open(tmp_path / "checkpoint", tmp_path / "adapter")
    weights = write_weights(checkpoint, tmp_path, "float32", silent, largest_file=40_000, joined=True)
    assert len(weights.files) > 9
    whole = written(tmp_path, weights)["layers.0.query_key_value.weight"]
    parts = [checkpoint.read(f"layers.0.{name}.weight") for name in ("query", "key", "value")]
    assert torch.equal(whole, torch.cat(parts))
