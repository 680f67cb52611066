"""Llama: causal. The layout that LLaDA's architecture comes from; the base of guides and of models to be converted."""

from __future__ import annotations

from typing import Any

from ..config import ModelConfig
from .config_keys import ConfigKeys
from .family import Family
from .standard import LAYER_NAMES, LAYER_PREFIX, OUTER_NAMES, standard_config


def read(keys: ConfigKeys) -> ModelConfig:
    bias = keys.flag("attention_bias")
    return standard_config(
        keys,
        family="llama",
        attention="causal",
        eos_token_ids=keys.stop_tokens((), (), keys.integer("vocab_size")),
        query_key_value_bias=bias,
        output_bias=bias,
        feed_forward_bias=keys.flag("mlp_bias"),
    )


def decoding(config: ModelConfig) -> dict[str, Any]:
    return {}


FAMILY = Family(
    name="llama",
    model_types=("llama",),
    read=read,
    layer_prefix=LAYER_PREFIX,
    layer_names=LAYER_NAMES,
    outer_names=OUTER_NAMES,
    decoding=decoding,
)
