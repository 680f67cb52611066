"""What a family of checkpoints is: how its `config.json` reads, what its tensors are called, how it is decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..config import ModelConfig
from ..errors import DllmEdgeError
from .config_keys import ConfigKeys

MIXTURE_KEYS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


@dataclass(frozen=True)
class Family:
    """One family of Hugging Face checkpoints. `layer_names` and `outer_names` map the modules of `graphs.transformer` to the
    checkpoint's; `layer_prefix` has a `{}` for the layer's number.

    `float16_safe` is false where the residual stream leaves float16's range, so that bfloat16 is the default instead.
    """

    name: str
    model_types: tuple[str, ...]
    read: Callable[[ConfigKeys], ModelConfig]
    layer_prefix: str
    layer_names: Mapping[str, str]
    outer_names: Mapping[str, str]
    decoding: Callable[[ModelConfig], dict[str, Any]]
    float16_safe: bool = True

    def config(self, data: Mapping[str, Any]) -> ModelConfig:
        """The architecture that `data`, a parsed `config.json`, describes; raises where we do not implement it."""
        keys = ConfigKeys(data)
        for key in MIXTURE_KEYS:
            if keys.integer(key, 0) > 1:
                raise keys.unsupported(key, "dense models only; mixtures of experts are not supported yet")
        for key in ("quantization_config", "quantization"):
            if data.get(key) is not None:
                raise DllmEdgeError(f"config.json: {key} is set; quantised weights cannot be read: use the original checkpoint")
        return self.read(keys)

    def tensor_names(self, config: ModelConfig) -> dict[str, str]:
        """Checkpoint tensor name of each canonical name (a key of `graphs.transformer`'s state dict)."""
        return {name: self.tensor_name(name) for name in canonical_shapes(config)}

    def tensor_name(self, canonical: str) -> str:
        *place, module, kind = canonical.split(".")
        if not place:
            return f"{self.outer_names[module]}.{kind}"
        return f"{self.layer_prefix.format(place[1])}.{self.layer_names[module]}.{kind}"

    def decoding_defaults(self, config: ModelConfig) -> dict[str, Any]:
        """Settings that the family's authors decode with; empty for models that do not decode by diffusion."""
        return self.decoding(config) if config.diffusion else {}


def canonical_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor in `graphs.transformer`'s state dict; without the LM head where it is tied."""
    hidden, wide = config.hidden_size, config.intermediate_size
    query, kv = config.heads * config.head_dim, config.kv_heads * config.head_dim
    qkv_bias, feed_forward_bias = config.query_key_value_bias, config.feed_forward_bias
    linears = {
        "query": (query, hidden, qkv_bias),
        "key": (kv, hidden, qkv_bias),
        "value": (kv, hidden, qkv_bias),
        "output": (hidden, query, config.output_bias),
        "gate": (wide, hidden, feed_forward_bias),
        "up": (wide, hidden, feed_forward_bias),
        "down": (hidden, wide, feed_forward_bias),
    }
    norms = {"attention_norm": hidden, "feed_forward_norm": hidden}
    if config.query_key_norm:
        norms |= {"query_norm": config.head_dim, "key_norm": config.head_dim}
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (config.vocab_size, hidden)}
    for index in range(config.layers):
        for name, size in norms.items():
            shapes[f"layers.{index}.{name}.weight"] = (size,)
        for name, (rows, columns, bias) in linears.items():
            shapes[f"layers.{index}.{name}.weight"] = (rows, columns)
            if bias:
                shapes[f"layers.{index}.{name}.bias"] = (rows,)
    shapes["norm.weight"] = (hidden,)
    if not config.tie_embeddings:
        shapes["lm_head.weight"] = (config.vocab_size, hidden)
    return shapes
