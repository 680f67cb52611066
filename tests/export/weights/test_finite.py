from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dllm_edge.export.checkpoint.checkpoint import Checkpoint
from dllm_edge.export.weights.finite import all_finite
from dllm_edge.export.weights.writer import link_weights, write_weights
from dllm_edge.graphs.dtypes import FLOATS, DType
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.weight_formats import WeightFormat, WeightFormats
from dllm_edge.runtime.bundle.verified import sha256_of

from ...tiny import write_tensors, write_tiny
from ..checkpoint.test_lora import write_adapter

NAME, FILE = "model.transformer.blocks.1.q_proj.weight", "model.safetensors"
INT8 = WeightFormats(WeightFormat.named("int8", 32), WeightFormat.named("plain", 32), WeightFormat.named("plain", 32))


def damaged(folder: Path, value: float, dtype: str = "float32", count: int = 3, name: str = NAME) -> Checkpoint:
    """A checkpoint of which some values of one tensor are no numbers, in its last rows."""
    write_tiny(folder, "llada", dtype=dtype, tokenizer=False)
    tensors = load_file(folder / FILE)
    tensors[name].view(-1)[-count:] = value
    write_tensors(folder, tensors)
    return Checkpoint.open(folder)


def silent(_: float) -> None:
    pass


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", FLOATS)
def test_any_value_that_is_no_number_is_found(value: float, dtype: str) -> None:
    for index in (0, 500, 999):
        values = torch.randn(1000).to(getattr(torch, dtype))
        assert all_finite(values)
        values[index] = value
        assert not all_finite(values)
    assert all_finite(torch.empty(0))


@pytest.mark.parametrize("value", [math.nan, -math.inf])
@pytest.mark.parametrize(("stored", "wanted"), [("float32", "float32"), ("bfloat16", "float32"), ("float32", "float16")])
def test_weights_that_are_no_numbers_are_refused_by_name_and_count(
    tmp_path: Path, value: float, stored: str, wanted: DType
) -> None:
    checkpoint = damaged(tmp_path / "llada", value, stored)
    with pytest.raises(DllmEdgeError, match=rf"{FILE}: {NAME} has .* \(3 of 4096 are NaN or infinite\): .*--allow-"):
        write_weights(checkpoint, tmp_path, wanted, silent)


@pytest.mark.parametrize("by_groups", [True, False])
def test_quantised_weights_too(tmp_path: Path, by_groups: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = damaged(tmp_path / "llada", math.nan)
    monkeypatch.setattr("dllm_edge.export.weights.quantiser.RoundToNearest.by_groups", by_groups, raising=False)
    with pytest.raises(DllmEdgeError, match=rf"{NAME} has .* \(3 of 4096"):
        write_weights(checkpoint, tmp_path, "float32", silent, INT8)
    for folder in tmp_path.glob("weights"):
        folder.rename(tmp_path / "first")
    with pytest.raises(DllmEdgeError, match="which int8 cannot store"):
        write_weights(replace(checkpoint, allow_nonfinite=True), tmp_path, "float32", silent, INT8)


def test_linked_weights_too(tmp_path: Path) -> None:
    checkpoint = damaged(tmp_path / "llada", math.nan, count=2, name="model.transformer.ff_out.weight")
    with pytest.raises(DllmEdgeError, match=r"model\.transformer\.ff_out\.weight has .* \(2 of 18432"):
        link_weights(checkpoint, tmp_path, "float32", silent)


def test_who_must_exports_them_as_they_are(tmp_path: Path) -> None:
    checkpoint = replace(damaged(tmp_path / "llada", math.nan), allow_nonfinite=True)
    linked = link_weights(checkpoint, tmp_path, "float32", silent)
    assert linked.files[f"weights/{FILE}"].sha256 == sha256_of(tmp_path / "llada" / FILE)
    (tmp_path / "weights").rename(tmp_path / "linked")
    (record,) = write_weights(checkpoint, tmp_path, "float32", silent).files
    assert load_file(tmp_path / record)["layers.1.query.weight"].isnan().sum() == 3


def test_a_tensor_that_the_model_does_not_use_is_hashed_and_not_judged(tmp_path: Path) -> None:
    write_tiny(tmp_path / "llada", "llama", tokenizer=False)
    tensors = load_file(tmp_path / "llada" / FILE) | {
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.full((7,), math.nan)
    }
    write_tensors(tmp_path / "llada", tensors)
    shares: list[float] = []
    linked = link_weights(Checkpoint.open(tmp_path / "llada"), tmp_path, "float32", shares.append)
    record = linked.files[f"weights/{FILE}"]
    assert record.sha256 == sha256_of(tmp_path / "llada" / FILE)
    assert record.size == (tmp_path / "llada" / FILE).stat().st_size
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_an_adapter_that_is_damaged_is_named(tmp_path: Path) -> None:
    write_tiny(tmp_path / "llada", "llada", tokenizer=False)
    write_adapter(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    tensors["base_model.model.model.transformer.blocks.2.v_proj.lora_B.weight"][0, :2] = math.inf
    save_file(tensors, file)
    checkpoint = Checkpoint.open(tmp_path / "llada", tmp_path / "adapter")
    with pytest.raises(DllmEdgeError, match=r"adapter_model\.safetensors: lora_B of .*\.2\.v_proj\.weight has .* \(2 of 256"):
        write_weights(checkpoint, tmp_path, "float32", silent)


def test_an_adapter_that_leaves_the_range(tmp_path: Path) -> None:
    write_tiny(tmp_path / "llada", "llada", dtype="float16", tokenizer=False)
    write_adapter(tmp_path / "adapter", lora_alpha=999_999)
    checkpoint = Checkpoint.open(tmp_path / "llada", tmp_path / "adapter")
    with pytest.raises(DllmEdgeError, match=r"with the adapter .* leaves the range of float16"):
        write_weights(checkpoint, tmp_path, "float16", silent)


@pytest.mark.parametrize("alpha", ["NaN", "Infinity", "1e400", f"1{400 * '0'}", "-1e7"])
def test_an_alpha_that_is_no_number(tmp_path: Path, alpha: str) -> None:
    write_tiny(tmp_path / "llada", "llada", tokenizer=False)
    write_adapter(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    text = json.dumps(config | {"lora_alpha": "ALPHA"}).replace('"ALPHA"', alpha)
    (tmp_path / "adapter" / "adapter_config.json").write_text(text)
    with pytest.raises(DllmEdgeError, match="both must be numbers"):
        Checkpoint.open(tmp_path / "llada", tmp_path / "adapter")


def test_values_beyond_a_range_are_found_beside_such_as_are_no_numbers(tmp_path: Path) -> None:
    checkpoint = replace(damaged(tmp_path / "llada", math.nan), allow_nonfinite=True)
    tensors = load_file(tmp_path / "llada" / FILE)
    tensors[NAME][0, 0] = 1e6
    write_tensors(tmp_path / "llada", tensors)
    with pytest.raises(DllmEdgeError, match=r"values up to 1e\+06, outside the range of float16"):
        write_weights(checkpoint, tmp_path, "float16", silent)
