from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from dllm_edge.export.checkpoint.checkpoint import Checkpoint, load_transformer
from dllm_edge.graphs.errors import DllmEdgeError

from ...tiny import write_tiny

RANK, ALPHA = 4, 6
# As D2F adapts LLaDA: query, key, value and output projections.
TARGETS = {
    "layers.0.query.weight": "model.transformer.blocks.0.q_proj",
    "layers.2.value.weight": "model.transformer.blocks.2.v_proj",
    "layers.2.output.weight": "model.transformer.blocks.2.attn_out",
}


def write_adapter(folder: Path, targets: dict[str, str] = TARGETS, **settings: Any) -> dict[str, Tensor]:
    """Write a PEFT folder for 64 x 64 projections; returns B A of each target."""
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(3)
    tensors, products = {}, {}
    for name, path in targets.items():
        down, up = torch.randn(RANK, 64, generator=generator), torch.randn(64, RANK, generator=generator)
        tensors[f"base_model.model.{path}.lora_A.weight"] = down
        tensors[f"base_model.model.{path}.lora_B.weight"] = up
        products[name] = up @ down
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none", "modules_to_save": None, "use_dora": False}
    (folder / "adapter_config.json").write_text(json.dumps(config | settings))
    return products


@pytest.fixture
def llada(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "llada", "llada", tokenizer=False)


def refusal(checkpoint: Path, adapter: Path) -> str:
    with pytest.raises(DllmEdgeError) as caught:
        Checkpoint.open(checkpoint, adapter)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("rslora", "scaling"), [(False, ALPHA / RANK), (True, ALPHA / math.sqrt(RANK))])
def test_merges_alpha_over_r_times_b_a(llada: Path, tmp_path: Path, rslora: bool, scaling: float) -> None:
    products = write_adapter(tmp_path / "adapter", use_rslora=rslora)
    plain, adapted = Checkpoint.open(llada), Checkpoint.open(llada, tmp_path / "adapter")
    assert [name for name in adapted.names() if adapted.merged(name)] == list(products)
    for name in plain.names():
        expected = plain.read(name) + (scaling * products[name] if name in products else 0.0)
        assert torch.allclose(adapted.read(name), expected, atol=1e-6)
        assert torch.equal(load_transformer(adapted).state_dict()[name], adapted.read(name))


def test_merges_in_float32_and_rounds_once(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "dream", "dream", dtype="bfloat16")
    name = "layers.1.output.weight"
    products = write_adapter(tmp_path / "adapter", {name: "model.layers.1.self_attn.o_proj"})
    adapted = Checkpoint.open(folder, tmp_path / "adapter").read(name)
    exact = Checkpoint.open(folder).read(name).to(torch.float32) + ALPHA / RANK * products[name]
    assert adapted.dtype == torch.bfloat16
    assert torch.equal(adapted, exact.to(torch.bfloat16))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"peft_type": "LOHA"}, "peft_type is 'LOHA'; supported: LORA"),
        ({"bias": "all"}, "bias is 'all'; supported: none"),
        ({"use_dora": True}, "use_dora is set, which is not supported: merge it with PEFT first"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is set"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern is set"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights pissa_niter_4 changes the base weights"),
        ({"r": None}, "r is null and lora_alpha 6; both must be numbers"),
        ({"r": True}, "r is true and lora_alpha 6; both must be numbers"),
        ({"lora_alpha": float("nan")}, "lora_alpha NaN; both must be numbers"),
        ({"lora_alpha": 10**400}, "; both must be numbers"),
        ({"r": 8}, r"at rank 8 do not fit: the adapter is for another model"),
    ],
)
def test_refuses_other_adapters(llada: Path, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    write_adapter(tmp_path / "adapter", **settings)
    assert message in refusal(llada, tmp_path / "adapter")


@pytest.mark.parametrize(
    "key",
    [
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
        "model.transformer.blocks.0.q_proj.lora_A.weight",
        "base_model.model.model.transformer.blocks.0.q_proj.lora_magnitude_vector",
        "base_model.model.model.transformer.wte.lora_embedding_A",
        "base_model.model.model.transformer.blocks.9.q_proj.lora_B.weight",
    ],
)
def test_a_key_that_matches_no_tensor_is_an_error(llada: Path, tmp_path: Path, key: str) -> None:
    write_adapter(tmp_path / "adapter")
    save_file({key: torch.ones(4, 64)}, tmp_path / "adapter" / "adapter_model.safetensors")
    assert f"{key} fits no tensor of the checkpoint" in refusal(llada, tmp_path / "adapter")


@pytest.mark.parametrize("path", ["attn_norm", "ff_norm"])
def test_only_linear_layers_are_adapted(llada: Path, tmp_path: Path, path: str) -> None:
    write_adapter(tmp_path / "adapter")
    key = f"base_model.model.model.transformer.blocks.0.{path}.lora_A.weight"
    save_file({key: torch.ones(64)}, tmp_path / "adapter" / "adapter_model.safetensors")
    assert "does not adapt a linear layer" in refusal(llada, tmp_path / "adapter")


def test_incomplete_adapters(llada: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    write_adapter(adapter)
    weights = adapter / "adapter_model.safetensors"
    save_file({f"base_model.model.{TARGETS['layers.0.query.weight']}.lora_A.weight": torch.ones(4, 64)}, weights)
    assert "only lora_A is there for layers.0.query.weight" in refusal(llada, adapter)
    save_file({}, weights)
    assert "holds no LoRA tensors" in refusal(llada, adapter)
    weights.unlink()
    assert "there is no adapter_model.safetensors" in refusal(llada, adapter)
    (adapter / "adapter_config.json").unlink()
    assert "there is no adapter_config.json" in refusal(llada, adapter)
