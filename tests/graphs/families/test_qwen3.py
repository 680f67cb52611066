from __future__ import annotations

from pathlib import Path

import pytest

from dllm_edge.graphs.contract import Flavour
from dllm_edge.graphs.families import family_of

from ...tiny import config_json, write_tiny
from .oracle import assert_close, our_logits, reference_logits, visible

# SDAR 4B: its heads are wider than the hidden size, and the mask token is not in its config.json.
PUBLISHED = {
    "architectures": ["SDARForCausalLM"],
    "model_type": "sdar",
    "attention_bias": False,
    "bos_token_id": 151643,
    "eos_token_id": 151643,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": 36,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "vocab_size": 151936,
}


@pytest.mark.parametrize("flavour", ["fused", "portable"])
@pytest.mark.parametrize(
    ("name", "pattern"), [("qwen3", "causal"), ("qwen3", "bidirectional"), ("sdar", "block-causal"), ("sdar", "bidirectional")]
)
def test_equals_transformers(tmp_path: Path, name: str, pattern: str, flavour: Flavour) -> None:
    write_tiny(tmp_path, name)
    reference = reference_logits(
        tmp_path, "qwen3", visible(pattern), num_key_value_heads=2, head_dim=32, rms_norm_eps=1e-6, rope_theta=1000000.0
    )
    assert_close(our_logits(tmp_path, visible(pattern), flavour), reference)


def test_published_sdar() -> None:
    family = family_of(PUBLISHED)
    config = family.config(PUBLISHED)
    assert (config.family, config.attention, config.attention_block, config.logit_shift) == ("qwen3", "block-causal", 4, False)
    assert (config.heads, config.kv_heads, config.head_dim, config.query_key_norm) == (32, 8, 128, True)
    assert config.mask_token_id == 151669
    assert config.eos_token_ids == (151643, 151645)
    assert family.tensor_names(config)["layers.3.key_norm.weight"] == "model.layers.3.self_attn.k_norm.weight"
    assert family.decoding_defaults(config)["block_length"] == 4


def test_head_dim_is_the_familys_where_the_configuration_has_none() -> None:
    without = {key: value for key, value in PUBLISHED.items() if key != "head_dim"}
    assert family_of(PUBLISHED).config(without).head_dim == 128


def test_biases_and_plain_qwen3() -> None:
    config = family_of(PUBLISHED).config(config_json("qwen3") | {"attention_bias": True})
    assert (config.query_key_value_bias, config.output_bias) == (True, True)
    assert (config.attention, config.diffusion) == ("causal", False)
