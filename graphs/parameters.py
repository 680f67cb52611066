"""The parameters of a model: their canonical names, which bundles and graphs use, and their shapes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from .config import ModelConfig

EMBEDDING, LM_HEAD = "embedding.weight", "lm_head.weight"
Shapes = dict[str, tuple[int, ...]]


def parameter_shapes(config: ModelConfig) -> Shapes:
    """Return the name and shape of each tensor in `graphs.modules.transformer`'s state dict; no LM head where it is tied."""
    shapes: Shapes = {EMBEDDING: (config.vocab_size, config.hidden_size)}
    layer = {**_norms(config), **_attention(config), **_feed_forward(config)}
    for index in range(config.layers):
        shapes |= {f"layers.{index}.{name}": shape for name, shape in layer.items()}
    shapes["norm.weight"] = (config.hidden_size,)
    if not config.tie_embeddings:
        shapes[LM_HEAD] = (config.vocab_size, config.hidden_size)
    return shapes


def parameter_count(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return how many numbers parameters of these shapes hold."""
    return sum(map(prod, shapes.values()))


def _norms(config: ModelConfig) -> Shapes:
    sizes = {"attention_norm": config.hidden_size, "feed_forward_norm": config.hidden_size}
    if config.query_key_norm:
        sizes |= {"query_norm": config.head_dim, "key_norm": config.head_dim}
    return {f"{name}.weight": (size,) for name, size in sizes.items()}


def _attention(config: ModelConfig) -> Shapes:
    hidden, width, kv_width = config.hidden_size, config.heads * config.head_dim, config.kv_heads * config.head_dim
    bias = config.query_key_value_bias
    return {
        **_linear("query", width, hidden, bias),
        **_linear("key", kv_width, hidden, bias),
        **_linear("value", kv_width, hidden, bias),
        **_linear("output", hidden, width, config.output_bias),
    }


def _feed_forward(config: ModelConfig) -> Shapes:
    hidden, wide, bias = config.hidden_size, config.intermediate_size, config.feed_forward_bias
    return {
        **_linear("gate", wide, hidden, bias),
        **_linear("up", wide, hidden, bias),
        **_linear("down", hidden, wide, bias),
    }


def _linear(name: str, outputs: int, inputs: int, bias: bool) -> Shapes:
    return {f"{name}.weight": (outputs, inputs)} | ({f"{name}.bias": (outputs,)} if bias else {})
