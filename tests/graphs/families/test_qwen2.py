from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dllm_edge.graphs.contract import Flavour
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.families import family_of

from ...tiny import QWEN_IDS, config_json, write_tiny
from .oracle import assert_close, our_logits, reference_logits, visible

SETTINGS: dict[str, Any] = {"num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0}
# Fast-dLLM v2 7B: the mask token is not in its config.json.
PUBLISHED = {
    "architectures": ["Fast_dLLM_QwenForCausalLM"],
    "model_type": "Fast_dLLM_Qwen",
    "bd_size": 32,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "layer_types": ["full_attention"] * 28,
    "max_position_embeddings": 32768,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "use_sliding_window": False,
    "vocab_size": 152064,
}


@pytest.mark.parametrize("flavour", ["fused", "portable"])
@pytest.mark.parametrize(
    ("name", "pattern"),
    [("qwen2", "causal"), ("qwen2", "bidirectional"), ("fast-dllm-v2", "block-causal"), ("fast-dllm-v2", "bidirectional")],
)
def test_equals_transformers(tmp_path: Path, name: str, pattern: str, flavour: Flavour) -> None:
    write_tiny(tmp_path, name)
    reference = reference_logits(tmp_path, "qwen2", visible(pattern), **SETTINGS)
    assert_close(our_logits(tmp_path, visible(pattern), flavour), reference)


def test_equals_transformers_with_tied_embeddings(tmp_path: Path) -> None:
    write_tiny(tmp_path, "qwen2", tie=True)
    reference = reference_logits(tmp_path, "qwen2", visible("causal"), tie_word_embeddings=True, **SETTINGS)
    assert_close(our_logits(tmp_path, visible("causal")), reference)


def test_published_fast_dllm_v2() -> None:
    family = family_of(PUBLISHED)
    config = family.config(PUBLISHED)
    assert (config.family, config.attention, config.attention_block, config.logit_shift) == ("qwen2", "block-causal", 32, True)
    assert config.mask_token_id == 151665
    assert config.eos_token_ids == (151645, 151643)
    defaults = family.decoding_defaults(config)
    assert (defaults["block_length"], defaults["unmask"], defaults["threshold"]) == (32, "threshold", 0.9)


def test_the_block_size_is_the_configurations() -> None:
    assert family_of(PUBLISHED).config(PUBLISHED | {"bd_size": 16}).attention_block == 16


def test_plain_qwen2_is_causal_and_no_diffusion_model() -> None:
    data = config_json("qwen2")
    family = family_of(data)
    config = family.config(data)
    assert (config.attention, config.logit_shift, config.diffusion) == ("causal", False, False)
    assert config.rope_theta == 1000000.0  # from rope_parameters
    assert config.eos_token_ids == (QWEN_IDS["<|endoftext|>"],)
    assert family.decoding_defaults(config) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("use_sliding_window", True),
        ("layer_types", ["full_attention", "sliding_attention"]),
        ("hidden_act", "gelu"),
        ("use_mrope", True),
    ],
)
def test_refuses_what_is_not_implemented(key: str, value: Any) -> None:
    with pytest.raises(DllmEdgeError, match=rf"^config.json: {key} is .*; supported: "):
        family_of(PUBLISHED).config(PUBLISHED | {key: value})
