from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dllm_edge.export.checkpoint.checkpoint import Checkpoint, load_transformer
from dllm_edge.export.checkpoint.safetensors import INDEX
from dllm_edge.graphs.errors import DllmEdgeError

from ...tiny import FAMILIES, config_json, write_tensors, write_tiny

SINGLE = "model.safetensors"


def refusal(folder: Path) -> str:
    with pytest.raises(DllmEdgeError) as caught:
        Checkpoint.open(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_header(folder: Path, header: dict[str, Any] | bytes, data: int = 0, claimed: int | None = None) -> None:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(encoded) if claimed is None else claimed
    (folder / SINGLE).write_bytes(length.to_bytes(8, "little") + encoded + bytes(data))


@pytest.fixture
def llada(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "llada", "llada", tokenizer=False)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_reads_what_safetensors_reads(tmp_path: Path, dtype: str, shards: int) -> None:
    folder = write_tiny(tmp_path, "sdar", dtype=dtype, shards=shards, tokenizer=False)
    checkpoint = Checkpoint.open(folder)
    reference: dict[str, Tensor] = {}
    for file in folder.glob("*.safetensors"):
        reference |= load_file(file)
    stored_names = checkpoint.family.tensor_names(checkpoint.config)
    assert checkpoint.dtype == dtype
    assert sorted(stored_names.values()) == sorted(reference)
    assert checkpoint.names() == list(stored_names)
    for name in checkpoint.names():
        expected, stored = reference[stored_names[name]], checkpoint.stored(name)
        assert torch.equal(checkpoint.read(name), expected)
        assert checkpoint.read(name).dtype == expected.dtype
        raw = stored.file.read_bytes()[stored.offset : stored.offset + stored.length]
        assert raw == expected.contiguous().view(torch.uint8).numpy().tobytes()
        assert not checkpoint.merged(name)


@pytest.mark.parametrize("wide", ["norm ln_f", "norm ln_f q_proj k_proj v_proj"])
def test_dtype_is_that_of_most_bytes(llada: Path, wide: str) -> None:
    """Not of most tensors: the second time 16 of 30 are float32."""
    tensors = load_file(llada / SINGLE)
    stored = {name: t if any(word in name for word in wide.split()) else t.to(torch.bfloat16) for name, t in tensors.items()}
    write_tensors(llada, stored)
    checkpoint = Checkpoint.open(llada)
    assert checkpoint.dtype == "bfloat16"
    assert checkpoint.stored("norm.weight").dtype == "float32"


@pytest.mark.parametrize("name", FAMILIES)
def test_loads_every_family(tmp_path: Path, name: str) -> None:
    checkpoint = Checkpoint.open(write_tiny(tmp_path, name, shards=2))
    model = load_transformer(checkpoint)
    assert not any(weight.requires_grad or weight.is_meta for weight in model.parameters())
    assert {key: tuple(weight.shape) for key, weight in model.state_dict().items()} == {
        key: checkpoint.stored(key).shape for key in checkpoint.names()
    }


def test_weights_keep_their_dtype_when_loaded(tmp_path: Path) -> None:
    model = load_transformer(Checkpoint.open(write_tiny(tmp_path, "llada", dtype="bfloat16")), "portable", torch.float32)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


def test_shards_are_found_without_an_index(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path, "llada", shards=2)
    (folder / INDEX).unlink()
    (folder / "consolidated.safetensors").write_bytes(b"not read")
    assert len(Checkpoint.open(folder).names()) == 30


def test_a_weight_file_of_another_name_is_found_and_an_adapter_beside_it_is_not(llada: Path) -> None:
    (llada / SINGLE).rename(llada / "weights.safetensors")
    save_file({"x": torch.zeros(1)}, llada / "adapter_model.safetensors")
    assert len(Checkpoint.open(llada).names()) == 30


@pytest.mark.parametrize("said", [True, False])
def test_a_missing_lm_head_is_tied_whatever_the_configuration_says(tmp_path: Path, said: bool) -> None:
    def say(config: dict[str, Any]) -> None:
        config["tie_word_embeddings"] = said

    checkpoint = Checkpoint.open(write_tiny(tmp_path, "fast-dllm-v2", tie=True, change=say))
    assert checkpoint.config.tie_embeddings
    assert "lm_head.weight" not in checkpoint.names()


def test_a_tied_lm_head_that_is_stored_too_is_left_out(tmp_path: Path) -> None:
    def say(config: dict[str, Any]) -> None:
        config["tie_word_embeddings"] = True

    checkpoint = Checkpoint.open(write_tiny(tmp_path, "qwen2", change=say))
    assert checkpoint.config.tie_embeddings
    assert "lm_head.weight" not in checkpoint.names()


def test_rotary_buffers_of_old_checkpoints_are_ignored(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path, "llama")
    tensors = load_file(folder / SINGLE) | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}
    write_tensors(folder, tensors)
    assert len(Checkpoint.open(folder).names()) == 30


def test_no_folder_and_no_configuration(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nothing") == f"{tmp_path}/nothing: there is no such folder: give a Hugging Face folder"
    assert refusal(tmp_path) == f"{tmp_path}: there is no config.json: give a whole Hugging Face folder"


@pytest.mark.parametrize(
    ("text", "reason"), [("{", "not valid JSON"), ("[1]", "holds a JSON list"), ("\udcff", "not valid JSON")]
)
def test_malformed_configuration(llada: Path, text: str, reason: str) -> None:
    (llada / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    assert f"config.json: {reason}" in refusal(llada)


@pytest.mark.parametrize("name", ["config.json", "model-00001-of-00002.safetensors", "adapter/adapter_config.json"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path, name: str, kind: str) -> None:
    folder = write_tiny(tmp_path, "llada", shards=2, tokenizer=False)
    (folder / INDEX).unlink()
    (folder / "adapter").mkdir()
    file = folder / name
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero")
    with pytest.raises(DllmEdgeError, match=rf"{name}: cannot be read \(it is a"):
        Checkpoint.open(folder, folder / "adapter")


def test_missing_and_extra_tensors(llada: Path) -> None:
    tensors = load_file(llada / SINGLE)
    lost = tensors.pop("model.transformer.blocks.1.attn_out.weight")
    write_tensors(llada, tensors)
    assert "1 tensors are missing, first model.transformer.blocks.1.attn_out.weight: download" in refusal(llada)
    write_tensors(llada, tensors | {"blocks.1.attn_out.weight": lost})
    assert "blocks.1.attn_out.weight (it holds blocks.1.attn_out.weight, which llada models do not have)" in refusal(llada)
    tensors["model.transformer.blocks.1.attn_out.weight"] = lost
    write_tensors(llada, tensors | {"model.transformer.blocks.3.attn_norm.weight": torch.ones(64)})
    assert "holds 1 tensors that llada models do not have, first model.transformer.blocks.3.attn_norm.weight" in refusal(llada)


def test_wrong_shapes(llada: Path) -> None:
    config = config_json("llada") | {"mlp_hidden_size": 112}
    (llada / "config.json").write_text(json.dumps(config))
    assert "ff_proj.weight has shape [96, 64], config.json says [112, 64]" in refusal(llada)


def test_unsupported_dtypes(llada: Path) -> None:
    tensors = load_file(llada / SINGLE)
    tensors["model.transformer.ln_f.weight"] = tensors["model.transformer.ln_f.weight"].to(torch.float64)
    write_tensors(llada, tensors)
    assert "model.transformer.ln_f.weight is stored as F64; supported: F32, F16, BF16" in refusal(llada)


@pytest.mark.parametrize("kept", [0, 5, 8, 200, -1])
def test_truncated_files(llada: Path, kept: int) -> None:
    whole = (llada / SINGLE).read_bytes()
    (llada / SINGLE).write_bytes(whole[:kept])
    assert "download it again" in refusal(llada)


def test_a_file_that_shrinks_after_it_was_opened(llada: Path) -> None:
    checkpoint = Checkpoint.open(llada)
    (llada / SINGLE).write_bytes((llada / SINGLE).read_bytes()[:5000])
    with pytest.raises(DllmEdgeError, match="it changed since it was opened"):
        checkpoint.read("lm_head.weight")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"{'a'", "header is not valid JSON"),
        (b"[]", "header is no JSON object"),
        ({"a": 1}, "malformed header entry of a"),
        ({"a": {"dtype": "F32", "shape": [1]}}, "malformed header entry of a"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}, "malformed header entry of a"),
        ({"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 4]}}, "malformed header entry of a"),
        ({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 4]}}, r"a has 4 bytes for F32 \[3\]"),
        (
            {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}},
            r"of a \(an extent is -1; it must be at least 0\)",
        ),
        (
            {"a": {"dtype": "F32", "shape": [1], "data_offsets": [-8, -4]}},
            r"of a \(an offset is -8; it must be at least 0\)",
        ),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [60, 64]}}, "a ends at byte .* it is truncated"),
    ],
)
def test_damaged_headers(llada: Path, header: dict[str, Any] | bytes, reason: str) -> None:
    write_header(llada, header, data=16)
    with pytest.raises(DllmEdgeError, match=reason):
        Checkpoint.open(llada)


@pytest.mark.parametrize("claimed", [100, 2**40, 2**63 + 7])
def test_header_length_beyond_the_file(llada: Path, claimed: int) -> None:
    write_header(llada, {}, claimed=claimed)
    assert f"its header says {claimed} bytes, the file has 10" in refusal(llada)


def test_no_weights_and_pickled_weights(llada: Path) -> None:
    (llada / SINGLE).unlink()
    assert "there are no *.safetensors files" in refusal(llada)
    (llada / "pytorch_model.bin").write_bytes(b"\x80")
    message = refusal(llada)
    assert "pickled (pytorch_model.bin)" in message
    assert "save_pretrained" in message


def test_shards_that_do_not_fit_their_index(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path, "llada", shards=2)
    index = json.loads((folder / INDEX).read_text())
    first = folder / "model-00001-of-00002.safetensors"

    def rewrite(changes: dict[str, Any]) -> None:
        (folder / INDEX).write_text(json.dumps(index | {"weight_map": index["weight_map"] | changes}))

    rewrite({"model.transformer.wte.weight": "model-00002-of-00002.safetensors"})
    assert "model-00002-of-00002.safetensors does not hold model.transformer.wte.weight" in refusal(folder)
    rewrite({"model.transformer.wte.weight": "../other.safetensors"})
    assert "names the file '../other.safetensors', which is not in this folder" in refusal(folder)
    rewrite({"model.transformer.wte.weight": 1})
    assert "weight_map is missing or malformed" in refusal(folder)
    rewrite({})
    first.rename(folder / "elsewhere")
    assert "model-00001-of-00002.safetensors, which the index names, is missing" in refusal(folder)


def test_a_tensor_that_two_shards_hold(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path, "llada", shards=2)
    (folder / INDEX).unlink()
    save_file({"model.transformer.wte.weight": torch.ones(1)}, folder / "model-extra.safetensors")
    message = refusal(folder)
    assert "model.transformer.wte.weight is in model-00001-of-00002.safetensors and in model-extra.safetensors" in message
