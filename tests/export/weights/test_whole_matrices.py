"""A quantiser that needs whole matrices: what it is asked, and that a bundle holds what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dllm_edge.export.bundle import export_bundle
from dllm_edge.export.checkpoint.checkpoint import Checkpoint
from dllm_edge.export.parity.structure import check_structure
from dllm_edge.export.weights import encode_quantised
from dllm_edge.export.weights.embedding_words import from_words
from dllm_edge.export.weights.packing import unpack
from dllm_edge.export.weights.quantiser import ROUND_TO_NEAREST, Quantised
from dllm_edge.export.weights.writer import write_weights
from dllm_edge.graphs.weight_formats import WeightFormat, WeightFormats

from ...tiny import write_tiny

FORMATS = WeightFormats(WeightFormat("int4", 32), WeightFormat("int8", 64), WeightFormat("int8", 32))


class OneScale:
    """One scale for all groups of a matrix, which no part of it tells."""

    by_groups = False

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[int, ...]]] = []

    def quantise(self, name: str, weights: Tensor, weight_format: WeightFormat, scale_dtype: torch.dtype) -> Quantised:
        assert weights.dtype == torch.float32
        self.asked.append((name, tuple(weights.shape)))
        rows, width = weights.shape
        scale = (weights.abs().max() / (7 if weight_format.name == "int4" else 127)).to(scale_dtype)
        integers = (weights / scale.float()).round().clamp(-7, 7).to(torch.int8)
        return Quantised(integers, scale.expand(rows, width // weight_format.group))


def stored_integers(tensors: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    stored = tensors[name + ".integers"]
    if name == "embedding.weight":
        return from_words(stored)
    return (unpack(stored) if stored.dtype == torch.uint8 else stored).reshape(shape[::-1]).T


@pytest.mark.parametrize("tie", [False, True])
def test_each_matrix_comes_whole_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tie: bool) -> None:
    """Also where the buffers of a quantiser that works by groups would hold only a part."""
    monkeypatch.setattr(encode_quantised, "CHUNK", 1000)
    monkeypatch.setattr(encode_quantised, "TILE", 96 * 32)
    checkpoint = Checkpoint.open(write_tiny(tmp_path / "checkpoint", "qwen2", dtype="bfloat16", tie=tie, tokenizer=False))
    quantiser = OneScale()
    weights = write_weights(checkpoint, tmp_path, "float16", lambda _: None, FORMATS, quantiser=quantiser)
    shapes = {name: shape for name, shape in FORMATS.shapes(checkpoint.config).items() if len(shape) == 2}
    assert len(quantiser.asked) == len(shapes)
    assert dict(quantiser.asked) == shapes
    tensors = {name: tensor for file in weights.files for name, tensor in load_file(tmp_path / file).items()}
    for name, shape in shapes.items():
        weight = checkpoint.read(checkpoint.source(name)).float()
        expected = OneScale().quantise(name, weight, FORMATS.of(name, shape), torch.float16)
        assert torch.equal(stored_integers(tensors, name, shape), expected.integers)
        assert tensors[name + ".scales"].unique().tolist() == expected.scales.unique().tolist()
        assert 0 < weights.errors[name].relative < 1


def test_a_quantiser_that_works_by_groups_sees_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode_quantised, "CHUNK", 1000)
    monkeypatch.setattr(encode_quantised, "TILE", 96 * 32)
    asked: list[tuple[int, ...]] = []

    class Watched:
        by_groups = True

        def quantise(self, name: str, weights: Tensor, weight_format: WeightFormat, scale_dtype: torch.dtype) -> Quantised:
            asked.append(tuple(weights.shape))
            return ROUND_TO_NEAREST.quantise(name, weights, weight_format, scale_dtype)

    checkpoint = Checkpoint.open(write_tiny(tmp_path / "checkpoint", "llada", dtype="float16", tokenizer=False))
    write_weights(checkpoint, tmp_path, "float16", lambda _: None, FORMATS, quantiser=Watched())
    assert max(rows * width for rows, width in asked) < 64 * 64


def test_an_export_takes_a_quantiser(tmp_path: Path) -> None:
    checkpoint, options = write_tiny(tmp_path / "checkpoint", "llada"), {"weights": "int8", "flavour": "fused"}
    quantiser = OneScale()
    bundle = export_bundle(checkpoint, tmp_path / "bundle", quantiser=quantiser, **options)  # type: ignore[arg-type]
    rounded = export_bundle(checkpoint, tmp_path / "rounded", **options)  # type: ignore[arg-type]
    shapes = bundle.manifest.weights.shapes(bundle.config)
    quantised = {name for name, shape in shapes.items() if bundle.manifest.weights.of(name, shape).quantised}
    assert {name for name, _ in quantiser.asked} == quantised
    assert check_structure(bundle) == check_structure(rounded) == []
    weights = "weights/model-00001-of-00001.safetensors"
    assert bundle.manifest.files[weights] != rounded.manifest.files[weights]
    assert bundle.manifest.files["step.onnx"] == rounded.manifest.files["step.onnx"]
