"""SDAR: Qwen3 weights, block-causal, the row at a position predicts that position; and plain Qwen3, which is causal."""

from __future__ import annotations

from typing import Any

from ..config import ModelConfig
from .config_keys import ConfigKeys
from .family import Family
from .standard import LAYER_NAMES, LAYER_PREFIX, OUTER_NAMES, QWEN_VOCABULARIES, qwen_stops, standard_config

MASK = 151669


def read(keys: ConfigKeys) -> ModelConfig:
    bias = keys.flag("attention_bias")
    fields: dict[str, Any] = {"attention": "causal"}
    if keys.data.get("model_type") == "sdar":
        fields = {
            "attention": "block-causal",
            "attention_block": keys.integer("block_size", 4),
            "mask_token_id": keys.mask_token(MASK, QWEN_VOCABULARIES, keys.integer("vocab_size")),
        }
    return standard_config(
        keys,
        head_dim=128,
        family="qwen3",
        eos_token_ids=qwen_stops(keys),
        query_key_value_bias=bias,
        output_bias=bias,
        query_key_norm=True,
        **fields,
    )


def decoding(config: ModelConfig) -> dict[str, Any]:
    return {
        "block_length": config.attention_block,
        "unmask": "threshold",
        "confidence": "maskgit_plus",
        "threshold": 0.85,
        "temperature": 0.0,
    }


FAMILY = Family(
    name="qwen3",
    model_types=("sdar", "qwen3"),
    read=read,
    layer_prefix=LAYER_PREFIX,
    layer_names=LAYER_NAMES,
    outer_names=OUTER_NAMES,
    decoding=decoding,
)
