"""The transformer that all supported families share, read from a `ModelConfig`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import ModelConfig
from ..contract import Flavour
from .attention import attend, rotary_frequencies, rotary_tables, rotate
from .feed_forward import FeedForward, feed_forward_of
from .linear import Linear


class LayerCache(NamedTuple):
    """Keys (after rotary positions) and values of one layer, `[B, Hkv, C, D]`."""

    key: Tensor
    value: Tensor


@dataclass
class HiddenStates:
    """What the layers leave: `hidden` `[B, Q, hidden_size]`, and each layer's queries `[B, H, Q, D]`, own keys and values."""

    hidden: Tensor
    queries: list[Tensor]
    caches: list[LayerCache]


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32 whatever comes in, so that float16 squares cannot overflow."""

    def __init__(self, size: int, eps: float, flavour: Flavour) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps
        self.flavour = flavour

    def forward(self, states: Tensor, dtype: torch.dtype) -> Tensor:
        wide, weight = states.to(torch.float32), self.weight.to(torch.float32)
        if self.flavour == "fused":
            return F.rms_norm(wide, weight.shape, weight, self.eps).to(dtype)
        return (wide * torch.rsqrt((wide * wide).mean(-1, keepdim=True) + self.eps) * weight).to(dtype)


class Layer(nn.Module):
    """Attention and a feed-forward part, each added to the residual stream after a norm of its own."""

    feed_forward: FeedForward

    def __init__(self, config: ModelConfig, flavour: Flavour) -> None:
        super().__init__()
        self.config, self.flavour = config, flavour
        width, wide = config.heads * config.head_dim, config.kv_heads * config.head_dim
        hidden, qkv_bias = config.hidden_size, config.query_key_value_bias
        self.attention_norm = RMSNorm(hidden, config.norm_eps, flavour)
        self.query = Linear(hidden, width, bias=qkv_bias)
        self.key = Linear(hidden, wide, bias=qkv_bias)
        self.value = Linear(hidden, wide, bias=qkv_bias)
        self.output = Linear(width, hidden, bias=config.output_bias)
        if config.query_key_norm:
            self.query_norm = RMSNorm(config.head_dim, config.norm_eps, flavour)
            self.key_norm = RMSNorm(config.head_dim, config.norm_eps, flavour)
        self.feed_forward_norm = RMSNorm(hidden, config.norm_eps, flavour)
        feed_forward_of(config).mount(self)

    def forward(
        self,
        residual: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor,
        past: LayerCache | None,
        compute_dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor, LayerCache]:
        """Return the residual stream `[B, Q, hidden_size]` after the layer, its queries, and its own keys and values."""
        states = self.attention_norm(residual, compute_dtype)
        query, key, value = self.heads(states, rotary)
        keys, values = (key, value) if past is None else (torch.cat((past.key, key), 2), torch.cat((past.value, value), 2))
        attended = attend(query, keys, values, mask, self.flavour).transpose(1, 2).flatten(2)
        residual = residual + self.output(attended).to(residual.dtype)
        residual = residual + self.feed_forward(self.feed_forward_norm(residual, compute_dtype)).to(residual.dtype)
        return residual, query, LayerCache(key, value)

    def heads(self, states: Tensor, rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries `[B, H, Q, D]`, keys and values `[B, Hkv, Q, D]`; queries and keys after norm and rotary positions."""
        query, key, value = (
            projection(states).unflatten(-1, (-1, self.config.head_dim)).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        if self.config.query_key_norm:
            query, key = self.query_norm(query, states.dtype), self.key_norm(key, states.dtype)
        return rotate(query, *rotary), rotate(key, *rotary), value


class Transformer(nn.Module):
    """Embedding, layers, final norm and LM head. The residual stream is float32 in every precision.

    `compute_dtype` is that of everything else between the embedding and the LM head; weights may be stored in another.
    """

    def __init__(self, config: ModelConfig, flavour: Flavour = "fused", compute_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config, self.compute_dtype = config, compute_dtype
        # No buffer: those follow `.to(dtype)`, and float16 frequencies turn positions into noise.
        self.frequencies = rotary_frequencies(config.head_dim, config.rope_theta)
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, flavour) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps, flavour)
        if not config.tie_embeddings:
            self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(
        self, input_ids: Tensor, position_ids: Tensor, mask: Tensor, past: list[LayerCache] | None = None
    ) -> HiddenStates:
        """Run the layers on `input_ids` and `position_ids` `[B, Q]` int64.

        `mask` is `[B, 1, Q, C + Q]` bool, true = visible: first the `C` slots of `past`, then the step's own rows.
        """
        rotary = rotary_tables(position_ids, self.frequencies)
        residual = self.embedding(input_ids).to(torch.float32)
        states = HiddenStates(residual, [], [])
        for index, layer in enumerate(self.layers):
            residual, query, cache = layer(residual, rotary, mask, None if past is None else past[index], self.compute_dtype)
            states.queries.append(query)
            states.caches.append(cache)
        states.hidden = residual
        return states

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits `[..., vocab_size]` float32 of residual rows `[..., hidden_size]`."""
        states = self.norm(hidden, self.compute_dtype)
        weight = self.embedding.weight if self.config.tie_embeddings else self.lm_head.weight
        return F.linear(states, weight.to(self.compute_dtype)).to(torch.float32)
