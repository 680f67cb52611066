"""The `config.json` keys and tensor names that Llama, Qwen and the diffusion models made from them share."""

from __future__ import annotations

from typing import Any

from ..config import ModelConfig
from .config_keys import ConfigKeys

LAYER_PREFIX = "model.layers.{}"
LAYER_NAMES = {
    "attention_norm": "input_layernorm",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "output": "self_attn.o_proj",
    "query_norm": "self_attn.q_norm",
    "key_norm": "self_attn.k_norm",
    "feed_forward_norm": "post_attention_layernorm",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
OUTER_NAMES = {"embedding": "model.embed_tokens", "norm": "model.norm", "lm_head": "lm_head"}

QWEN_VOCABULARIES = (151936, 152064)
QWEN_STOPS = (151643, 151645)  # <|endoftext|>, <|im_end|>


def standard_config(keys: ConfigKeys, *, head_dim: int | None = None, **fields: Any) -> ModelConfig:
    """Return a `ModelConfig` of the shared keys and of `fields`; `head_dim` is the family's where the config has none."""
    refuse_unsupported(keys)
    hidden, heads = keys.integer("hidden_size"), keys.integer("num_attention_heads")
    shared: dict[str, Any] = {
        "vocab_size": keys.integer("vocab_size"),
        "hidden_size": hidden,
        "intermediate_size": keys.integer("intermediate_size"),
        "layers": keys.integer("num_hidden_layers"),
        "heads": heads,
        "kv_heads": keys.integer("num_key_value_heads", heads),
        "head_dim": keys.integer("head_dim", head_dim or hidden // max(heads, 1)),
        "rope_theta": keys.rope_theta(),
        "norm_eps": keys.positive("rms_norm_eps"),
        "max_positions": keys.integer("max_position_embeddings"),
        "bos_token_id": keys.token("bos_token_id"),
        "pad_token_id": keys.token("pad_token_id"),
        "tie_embeddings": keys.flag("tie_word_embeddings"),
    }
    return ModelConfig(**(shared | fields))


def qwen_stops(keys: ConfigKeys) -> tuple[int, ...]:
    return keys.stop_tokens(QWEN_STOPS, QWEN_VOCABULARIES, keys.integer("vocab_size"))


def refuse_unsupported(keys: ConfigKeys) -> None:
    keys.only("hidden_act", "silu", "swish")
    keys.only("use_sliding_window", False)
    keys.only("use_mrope", False)
    if any(layer_type != "full_attention" for layer_type in keys.texts("layer_types")):
        raise keys.unsupported("layer_types", '"full_attention" in every layer')
