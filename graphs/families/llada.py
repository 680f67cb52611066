"""LLaDA 8B, LLaDA 1.5 and models trained with their code: bidirectional, the row at a position predicts that position."""

from __future__ import annotations

from typing import Any

from ..config import ModelConfig
from .config_keys import ConfigKeys
from .family import Family

VOCABULARIES = (126464,)
MASK, START_OF_TEXT, END_OF_TEXT, END_OF_TURN = 126336, 126080, 126081, 126348


def read(keys: ConfigKeys) -> ModelConfig:
    refuse_unsupported(keys)
    hidden, heads = keys.integer("d_model"), keys.integer("n_heads")
    vocabulary = keys.integer("embedding_size", keys.integer("vocab_size"))
    bos = keys.token("bos_token_id")
    return ModelConfig(
        family="llada",
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=keys.integer("mlp_hidden_size", keys.integer("mlp_ratio", 4) * hidden),
        layers=keys.integer("n_layers"),
        heads=heads,
        kv_heads=keys.integer("n_kv_heads", heads),
        head_dim=hidden // max(heads, 1),
        rope_theta=keys.rope_theta(),
        norm_eps=keys.positive("rms_norm_eps", 1e-5),
        max_positions=keys.integer("max_sequence_length"),
        attention="bidirectional",
        eos_token_ids=keys.stop_tokens((END_OF_TEXT, END_OF_TURN), VOCABULARIES, vocabulary),
        mask_token_id=keys.mask_token(MASK, VOCABULARIES, vocabulary),
        bos_token_id=START_OF_TEXT if bos is None and vocabulary in VOCABULARIES else bos,
        pad_token_id=keys.token("pad_token_id"),
        query_key_value_bias=keys.flag("include_qkv_bias"),
        tie_embeddings=keys.flag("weight_tying"),
    )


def refuse_unsupported(keys: ConfigKeys) -> None:
    for key in ("alibi", "attention_layer_norm", "bias_for_layer_norm", "include_bias", "input_emb_norm", "scale_logits"):
        keys.only(key, False)
    keys.only("multi_query_attention", False)
    keys.only("rope", True)
    keys.only("layer_norm_with_affine", True)
    keys.only("activation_type", "silu")
    keys.only("block_type", "llama")
    keys.only("block_group_size", 1)
    keys.only("layer_norm_type", "rms")
    if keys.data.get("clip_qkv") is not None:
        raise keys.unsupported("clip_qkv", "null")


def decoding(config: ModelConfig) -> dict[str, Any]:
    return {"block_length": 32, "unmask": "quota", "confidence": "maskgit_plus", "temperature": 0.0}


FAMILY = Family(
    name="llada",
    model_types=("llada",),
    read=read,
    layer_prefix="model.transformer.blocks.{}",
    # ff_out is the down projection inside a block and the LM head outside.
    layer_names={
        "attention_norm": "attn_norm",
        "query": "q_proj",
        "key": "k_proj",
        "value": "v_proj",
        "output": "attn_out",
        "feed_forward_norm": "ff_norm",
        "gate": "ff_proj",
        "up": "up_proj",
        "down": "ff_out",
    },
    outer_names={
        "embedding": "model.transformer.wte",
        "norm": "model.transformer.ln_f",
        "lm_head": "model.transformer.ff_out",
    },
    decoding=decoding,
)
