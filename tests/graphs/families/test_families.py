"""The look-up, and what holds for every family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.families import FAMILIES, default_dtype, family_of, float16_warning
from dllm_edge.graphs.parameters import parameter_shapes

from ... import tiny


@pytest.mark.parametrize("tie", [False, True])
@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_names_and_shapes_are_the_real_layouts(name: str, tie: bool) -> None:
    data = tiny.config_json(name, tie=tie)
    family = family_of(data)
    config = family.config(data)
    shapes = parameter_shapes(config)
    ours = {stored: shapes[canonical] for canonical, stored in family.tensor_names(config).items()}
    assert ours == dict(tiny.tensor_shapes(name, tie))
    assert config.tie_embeddings is tie
    assert FAMILIES[config.family] is family


@pytest.mark.parametrize("name", tiny.DIFFUSION_FAMILIES)
def test_diffusion_families_have_a_mask_token_and_defaults(name: str) -> None:
    data = tiny.config_json(name)
    family = family_of(data)
    config = family.config(data)
    assert config.mask_token_id == data["mask_token_id"]
    assert {"block_length", "unmask", "confidence"} <= family.decoding_defaults(config).keys()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"model_type": "mamba"}, r"model_type 'mamba' is not supported; known: llada, Dream, Fast_dLLM_Qwen, qwen2, sdar, "),
        ({}, r"model_type None is not supported; known: llada"),
        ({"model_type": 7}, r"model_type is 7; it must be text"),
        ({"model_type": "llada", "architectures": 1.5}, r"architectures is 1.5; it must be a list of texts"),
        ({"model_type": "llada", "architectures": "LLaDAModelLM"}, r"architectures is .*; it must be a list of texts"),
        ({"model_type": "llada", "architectures": ["LLaDAMoEModelLM"]}, r"LLaDAMoEModelLM is a mixture .* not supported yet"),
        ({"model_type": "llada2_moe", "architectures": ["LLaDA2MoeModelLM"]}, r"LLaDA2MoeModelLM is a mixture"),
    ],
)
def test_unknown_families(data: dict[str, Any], message: str) -> None:
    with pytest.raises(DllmEdgeError, match=message):
        family_of(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_experts": 64}, "num_experts is 64; supported: dense models only"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantization_config is set; .* use the original checkpoint"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, 'rope_scaling is {"rope_type": "yarn".*; supported: null'),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5}}, "rope_parameters is .*llama3"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, "rope_parameters is .*one entry for all layers"),
        ({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, "rope_parameters is .*whole head"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5; supported: 1"),
        ({"rope_scaling": {"type": "default", "mrope_section": [1]}}, "rope_scaling is .*mrope_section"),
        ({"rope_scaling": 2}, "rope_scaling is 2; it must be an object"),
        ({"hidden_size": None}, "hidden_size is missing; it must be a whole number"),
        ({"hidden_size": "64"}, 'hidden_size is "64"; it must be a whole number'),
        ({"hidden_size": True}, "hidden_size is true; it must be a whole number"),
        ({"rms_norm_eps": 0}, "rms_norm_eps is 0.0; it must be a number above 0"),
        ({"rope_parameters": {"rope_theta": float("nan")}}, "rope_theta is NaN; it must be a number above 0"),
        ({"tie_word_embeddings": "yes"}, 'tie_word_embeddings is "yes"; it must be true or false'),
        ({"eos_token_id": None}, "eos_token_id is missing"),
        ({"eos_token_id": "</s>"}, 'eos_token_id is "</s>"; it must be a token id or a list'),
        ({"eos_token_id": [1, 900]}, "eos_token_id 900 lies outside the vocabulary of 288"),
        ({"num_attention_heads": 0}, "heads is 0; it must be at least 1"),
        ({"num_hidden_layers": 10**9}, "layers is 1000000000; it must be at least 1 and at most 1024"),
        ({"num_hidden_layers": -2}, "layers is -2; it must be at least 1"),
        ({"num_hidden_layers": 2.5}, "num_hidden_layers is 2.5; it must be a whole number"),
        ({"vocab_size": 10**9}, "vocab_size is 1000000000; it must be at least 1 and at most 4194304"),
        ({"hidden_size": 10**400}, r"hidden_size is 10000+\.\.\.; it must be at least 1"),
        ({"max_position_embeddings": 10**12}, "max_positions is 1000000000000; it must be"),
        ({"rope_parameters": {"rope_theta": 10**400}}, r"rope_theta is 10000+\.\.\.; it must be a number above 0"),
        ({"rope_parameters": {"rope_theta": True}}, "rope_theta is true; it must be a number"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps is Infinity; it must be a number above 0"),
        ({"rms_norm_eps": 7}, "norm_eps is 7.0; it must be .* at most 1.0"),
        ({"partial_rotary_factor": True}, "partial_rotary_factor is true; supported: 1"),
        ({"use_mrope": 0}, "use_mrope is 0; supported: false"),
        ({"layer_types": 5}, "layer_types is 5; it must be a list of texts"),
        ({"layer_types": ["full_attention", []]}, "layer_types is .*; it must be a list of texts"),
        ({"eos_token_id": [1, True]}, r"eos_token_id is \[1, true\]; it must be a token id or a list"),
        ({"eos_token_id": [[1]]}, r"eos_token_id is \[\[1\]\]; it must be a token id or a list"),
        ({"eos_token_id": 1.5}, "eos_token_id is 1.5; it must be a token id or a list"),
        ({"eos_token_id": [10**90]}, r"eos_token_id 1000+\.\.\. lies outside the vocabulary"),
        ({"bos_token_id": 288}, "bos_token_id 288 lies outside the vocabulary of 288"),
        ({"pad_token_id": False}, "pad_token_id is false; it must be a whole number"),
        ({"num_attention_heads": 3}, "3 heads do not divide into 2 key heads"),
    ],
)
def test_refuses_keys_by_name(change: dict[str, Any], message: str) -> None:
    data = tiny.config_json("llama") | change
    with pytest.raises(DllmEdgeError, match=message) as caught:
        family_of(data).config(data)
    assert "\n" not in str(caught.value)


def test_harmless_forms_are_read() -> None:
    change = {"rope_scaling": {"type": "default"}, "partial_rotary_factor": 1.0, "eos_token_id": [7, 9], "pad_token_id": -1}
    config = FAMILIES["llama"].config(tiny.config_json("llama") | change)
    assert config.eos_token_ids == (7, 9)
    assert config.pad_token_id is None


@pytest.mark.parametrize(
    ("name", "keys", "field", "value"),
    [
        ("llada", "rms_norm_eps", "norm_eps", 1e-5),
        ("llada", "n_kv_heads", "kv_heads", 4),
        ("llada", "mlp_hidden_size", "intermediate_size", 4 * 64),
        ("llada", "mlp_hidden_size mlp_ratio", "intermediate_size", 4 * 64),
        ("llada", "embedding_size", "vocab_size", 288),
        ("llada", "rope_theta", "rope_theta", 10_000.0),
        ("llada", "weight_tying", "tie_embeddings", False),
        ("llada", "include_qkv_bias", "query_key_value_bias", False),
        ("llada", "pad_token_id", "pad_token_id", None),
        ("dream", "num_key_value_heads", "kv_heads", 4),
        ("dream", "rope_theta", "rope_theta", 10_000.0),
        ("dream", "tie_word_embeddings", "tie_embeddings", False),
        ("fast-dllm-v2", "bd_size", "attention_block", 32),
        ("sdar", "block_size", "attention_block", 4),
        ("sdar", "head_dim", "head_dim", 128),
        ("sdar", "attention_bias", "query_key_value_bias", False),
        ("sdar", "attention_bias", "output_bias", False),
        ("qwen3", "rope_parameters", "rope_theta", 10_000.0),
        ("llama", "head_dim", "head_dim", 16),
    ],
)
def test_what_an_absent_key_means(name: str, keys: str, field: str, value: Any) -> None:
    """As in the reference implementation of each family, null and absent alike; the tiny configurations say otherwise."""
    data = tiny.config_json(name)
    without = {key: entry for key, entry in data.items() if key not in keys.split()}
    for absent in (without, without | dict.fromkeys(keys.split())):
        assert getattr(family_of(absent).config(absent), field) == value


@pytest.mark.parametrize(
    ("name", "stored", "default"),
    [
        ("llada", "float16", "float16"),
        ("qwen3", "float16", "float16"),
        ("dream", "float16", "bfloat16"),
        ("qwen2", "float16", "bfloat16"),
        ("qwen2", "bfloat16", "bfloat16"),
        ("dream", "float32", "float32"),
    ],
)
def test_default_dtype(name: str, stored: str, default: str) -> None:
    assert default_dtype(FAMILIES[name], stored) == default


def test_float16_is_warned_of_where_it_may_overflow() -> None:
    assert "bfloat16 is the safe choice" in (float16_warning(FAMILIES["dream"], "float16") or "")
    assert float16_warning(FAMILIES["dream"], "bfloat16") is None
    assert float16_warning(FAMILIES["llada"], "float16") is None


def test_no_torch_in_the_families() -> None:
    folder = Path(tiny.__file__).parent.parent / "graphs" / "families"
    files = sorted(folder.glob("*.py"))
    assert len(files) > 5
    assert not [file for file in files if "torch" in file.read_text(encoding="utf-8")]
