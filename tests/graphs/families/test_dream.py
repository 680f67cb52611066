from __future__ import annotations

from pathlib import Path

import pytest

from dllm_edge.graphs.contract import Flavour
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.families import family_of

from ...tiny import write_tiny
from .oracle import assert_close, our_logits, reference_logits, visible

PUBLISHED = {
    "architectures": ["DreamModel"],
    "model_type": "Dream",
    "bos_token_id": 151643,
    "eos_token_id": 151643,
    "hidden_act": "silu",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "mask_token_id": 151666,
    "max_position_embeddings": 131072,
    "max_window_layers": 28,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "pad_token_id": 151643,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_mrope": False,
    "use_sliding_window": False,
    "vocab_size": 152064,
}


@pytest.mark.parametrize("flavour", ["fused", "portable"])
@pytest.mark.parametrize("pattern", ["bidirectional", "causal"])
def test_equals_qwen2_with_the_same_weights(tmp_path: Path, pattern: str, flavour: Flavour) -> None:
    write_tiny(tmp_path, "dream")
    reference = reference_logits(
        tmp_path, "qwen2", visible(pattern), num_key_value_heads=2, rms_norm_eps=1e-6, rope_theta=1000000.0
    )
    assert_close(our_logits(tmp_path, visible(pattern), flavour), reference)


def test_published_configuration() -> None:
    family = family_of(PUBLISHED)
    config = family.config(PUBLISHED)
    assert (config.family, config.attention, config.logit_shift) == ("dream", "bidirectional", True)
    assert (config.heads, config.kv_heads, config.head_dim, config.layers) == (28, 4, 128, 28)
    assert (config.query_key_value_bias, config.output_bias, config.query_key_norm) == (True, False, False)
    assert config.mask_token_id == 151666
    assert config.eos_token_ids == (151643, 151645)
    assert len(family.tensor_names(config)) == 339  # 3 + 28 * 12, as the published index has
    assert family.decoding_defaults(config) == {
        "block_length": 0,
        "unmask": "schedule",
        "confidence": "entropy",
        "temperature": 0.0,
    }


def test_refuses_block_diffusion_under_the_same_type() -> None:
    with pytest.raises(DllmEdgeError, match=r"block_size is 32; supported: null"):
        family_of(PUBLISHED).config(PUBLISHED | {"block_size": 32})
