"""The supported families of checkpoints, one file each, and the look-up by `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import DllmEdgeError, shown
from . import dream, llada, llama, qwen2, qwen3
from .config_keys import ConfigKeys
from .family import Family

FAMILIES: dict[str, Family] = {
    family.name: family for family in (llada.FAMILY, dream.FAMILY, qwen2.FAMILY, qwen3.FAMILY, llama.FAMILY)
}

__all__ = ["FAMILIES", "Family", "default_dtype", "family_of", "float16_warning"]


def family_of(config_json: Mapping[str, Any]) -> Family:
    """Return the family of a parsed `config.json`, by its `model_type`; raises `DllmEdgeError` for one not supported."""
    keys = ConfigKeys(config_json)
    architectures = keys.texts("architectures")
    model_type = None if config_json.get("model_type") is None else keys.value("model_type", (str,), "text")
    # LLaDA-MoE, too, calls itself "llada".
    if any("moe" in name.lower() for name in architectures):
        raise DllmEdgeError(f"config.json: {shown(architectures[0])[1:-1]} is a mixture of experts, which is not supported yet")
    for family in FAMILIES.values():
        if model_type in family.model_types:
            return family
    known = ", ".join(model_type for family in FAMILIES.values() for model_type in family.model_types)
    raise DllmEdgeError(f"config.json: model_type {model_type!r:.100} is not supported; known: {known}")


def default_dtype(family: Family, checkpoint_dtype: str) -> str:
    """Return the dtype to store weights in where none is asked for: the checkpoint's, except float16 where it is not safe."""
    return "bfloat16" if checkpoint_dtype == "float16" and not family.float16_safe else checkpoint_dtype


def float16_warning(family: Family, dtype: str) -> str | None:
    """Return a line to show where `dtype` was asked for and may overflow, else None."""
    if dtype != "float16" or family.float16_safe:
        return None
    return f"{family.name} models come from Qwen2.5, whose activations can leave float16's range: bfloat16 is the safe choice"
