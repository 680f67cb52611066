"""Dream 7B, Dream-Coder and DiffuCoder: Qwen2.5 weights, bidirectional, the row before a position predicts it."""

from __future__ import annotations

from typing import Any

from ..config import ModelConfig
from .config_keys import ConfigKeys
from .family import Family
from .standard import LAYER_NAMES, LAYER_PREFIX, OUTER_NAMES, QWEN_VOCABULARIES, qwen_stops, standard_config

MASK = 151666


def read(keys: ConfigKeys) -> ModelConfig:
    if keys.data.get("block_size") is not None:
        raise keys.unsupported("block_size", "null (block-diffusion models of the type Dream are not supported)")
    return standard_config(
        keys,
        family="dream",
        attention="bidirectional",
        eos_token_ids=qwen_stops(keys),
        mask_token_id=keys.mask_token(MASK, QWEN_VOCABULARIES, keys.integer("vocab_size")),
        query_key_value_bias=True,
        logit_shift=True,
    )


def decoding(config: ModelConfig) -> dict[str, Any]:
    """`block_length` 0: the whole generated region is one block."""
    return {"block_length": 0, "unmask": "schedule", "confidence": "entropy", "temperature": 0.0}


FAMILY = Family(
    name="dream",
    model_types=("Dream",),
    read=read,
    layer_prefix=LAYER_PREFIX,
    layer_names=LAYER_NAMES,
    outer_names=OUTER_NAMES,
    decoding=decoding,
    float16_safe=False,
)
