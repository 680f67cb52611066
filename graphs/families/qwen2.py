"""Fast-dLLM v2: Qwen2.5 weights, block-causal, the row before a position predicts it; and plain Qwen2, which is causal."""

from __future__ import annotations

from typing import Any

from ..config import ModelConfig
from .config_keys import ConfigKeys
from .family import Family
from .standard import LAYER_NAMES, LAYER_PREFIX, OUTER_NAMES, QWEN_VOCABULARIES, qwen_stops, standard_config

MASK = 151665


def read(keys: ConfigKeys) -> ModelConfig:
    fields: dict[str, Any] = {"attention": "causal"}
    if keys.data.get("model_type") == "Fast_dLLM_Qwen":
        fields = {
            "attention": "block-causal",
            "attention_block": keys.integer("bd_size", 32),
            "mask_token_id": keys.mask_token(MASK, QWEN_VOCABULARIES, keys.integer("vocab_size")),
            "logit_shift": True,
        }
    return standard_config(keys, family="qwen2", eos_token_ids=qwen_stops(keys), query_key_value_bias=True, **fields)


def decoding(config: ModelConfig) -> dict[str, Any]:
    return {
        "block_length": config.attention_block,
        "unmask": "threshold",
        "confidence": "maskgit_plus",
        "threshold": 0.9,
        "temperature": 0.0,
    }


FAMILY = Family(
    name="qwen2",
    model_types=("Fast_dLLM_Qwen", "qwen2"),
    read=read,
    layer_prefix=LAYER_PREFIX,
    layer_names=LAYER_NAMES,
    outer_names=OUTER_NAMES,
    decoding=decoding,
    float16_safe=False,
)
