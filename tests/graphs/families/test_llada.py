from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.graphs.contract import Flavour
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.families import FAMILIES, family_of

from ...tiny import LLADA_IDS, config_json, write_tiny
from .oracle import assert_close, our_logits, reference_logits, visible

LLAMA_NAMES = {
    "attn_norm": "input_layernorm",
    "ff_norm": "post_attention_layernorm",
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "attn_out": "self_attn.o_proj",
    "ff_proj": "mlp.gate_proj",
    "up_proj": "mlp.up_proj",
    "ff_out": "mlp.down_proj",
}
OUTER = {"wte": "model.embed_tokens", "ln_f": "model.norm", "ff_out": "lm_head"}

# config.json of the published 8B models, without the keys that only training reads.
PUBLISHED = {
    "activation_type": "silu",
    "alibi": False,
    "architectures": ["LLaDAModelLM"],
    "attention_layer_norm": False,
    "attention_layer_norm_with_affine": True,
    "bias_for_layer_norm": False,
    "block_group_size": 1,
    "block_type": "llama",
    "d_model": 4096,
    "embedding_size": 126464,
    "eos_token_id": 126081,
    "include_bias": False,
    "include_qkv_bias": False,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "layer_norm_with_affine": True,
    "mask_token_id": 126336,
    "max_sequence_length": 4096,
    "mlp_hidden_size": 12288,
    "mlp_ratio": 4,
    "model_type": "llada",
    "multi_query_attention": None,
    "n_heads": 32,
    "n_kv_heads": 32,
    "n_layers": 32,
    "pad_token_id": 126081,
    "rms_norm_eps": 1e-05,
    "rope": True,
    "rope_full_precision": True,
    "rope_theta": 500000.0,
    "scale_logits": False,
    "vocab_size": 126464,
    "weight_tying": False,
}


def as_llama(name: str) -> str:
    if found := re.fullmatch(r"model\.transformer\.blocks\.(\d+)\.(\w+)\.(\w+)", name):
        return f"model.layers.{found[1]}.{LLAMA_NAMES[found[2]]}.{found[3]}"
    *_, module, kind = name.split(".")
    return f"{OUTER[module]}.{kind}"


@pytest.mark.parametrize("flavour", ["fused", "portable"])
@pytest.mark.parametrize("pattern", ["bidirectional", "causal"])
def test_equals_llama_with_the_same_weights(tmp_path: Path, pattern: str, flavour: Flavour) -> None:
    write_tiny(tmp_path, "llada")
    reference = reference_logits(
        tmp_path, "llama", visible(pattern), as_llama, num_key_value_heads=4, rms_norm_eps=1e-5, rope_theta=500000.0
    )
    assert_close(our_logits(tmp_path, visible(pattern), flavour), reference)


def test_published_configuration() -> None:
    family = family_of(PUBLISHED)
    config = family.config(PUBLISHED)
    assert (config.family, config.attention, config.logit_shift) == ("llada", "bidirectional", False)
    assert (config.hidden_size, config.intermediate_size, config.layers) == (4096, 12288, 32)
    assert (config.heads, config.kv_heads, config.head_dim) == (32, 32, 128)
    assert (config.vocab_size, config.max_positions, config.rope_theta, config.norm_eps) == (126464, 4096, 500000.0, 1e-5)
    assert config.mask_token_id == 126336
    assert config.eos_token_ids == (126081, 126348)
    assert (config.bos_token_id, config.pad_token_id) == (126080, 126081)
    assert (config.tie_embeddings, config.query_key_value_bias, config.query_key_norm) == (False, False, False)
    names = family.tensor_names(config)
    assert len(names) == 291  # 3 + 32 * 9, as the published index has
    assert names["lm_head.weight"] == "model.transformer.ff_out.weight"
    assert names["layers.31.down.weight"] == "model.transformer.blocks.31.ff_out.weight"
    assert family.decoding_defaults(config)["block_length"] == 32


def test_the_mask_token_is_known_for_the_published_vocabulary_only() -> None:
    without = {key: value for key, value in PUBLISHED.items() if key != "mask_token_id"}
    assert FAMILIES["llada"].config(without).mask_token_id == 126336
    with pytest.raises(DllmEdgeError, match=r"mask_token_id is missing.*126464 \(here 300\): add mask_token_id"):
        FAMILIES["llada"].config(without | {"vocab_size": 300, "embedding_size": 300, "eos_token_id": 3})


def test_a_trained_vocabulary_keeps_its_own_ids_and_its_padded_embedding() -> None:
    config = FAMILIES["llada"].config(config_json("llada") | {"embedding_size": 320})
    assert config.eos_token_ids == (LLADA_IDS["<|endoftext|>"],)
    assert config.bos_token_id == LLADA_IDS["<|startoftext|>"]
    assert config.vocab_size == 320


def test_null_sizes_mean_those_of_the_reference() -> None:
    config = FAMILIES["llada"].config(PUBLISHED | {"n_kv_heads": None, "mlp_hidden_size": None, "embedding_size": None})
    assert (config.kv_heads, config.intermediate_size, config.vocab_size) == (32, 16384, 126464)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("alibi", True),
        ("attention_layer_norm", True),
        ("bias_for_layer_norm", True),
        ("include_bias", True),
        ("input_emb_norm", True),
        ("scale_logits", True),
        ("multi_query_attention", True),
        ("rope", False),
        ("layer_norm_with_affine", False),
        ("activation_type", "swiglu"),
        ("block_type", "sequential"),
        ("block_group_size", 2),
        ("layer_norm_type", "default"),
        ("clip_qkv", 8.0),
        ("rope_scaling", {"type": "linear", "factor": 2.0}),
    ],
)
def test_refuses_what_is_not_implemented(key: str, value: Any) -> None:
    with pytest.raises(DllmEdgeError, match=rf"^config.json: {key} is .*; supported: "):
        FAMILIES["llada"].config(PUBLISHED | {key: value})
