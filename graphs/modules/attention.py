"""Attention of a step's queries over the cache and the step's own keys, in the two flavours, and rotary positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..contract import Flavour


def rotary_frequencies(head_dim: int, theta: float) -> Tensor:
    """Return the angle per position of each pair, `[head_dim / 2]` float32."""
    return 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu") / head_dim)


def rotary_tables(position_ids: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines and sines, each `[B, 1, Q, head_dim]` float32, for positions `[B, Q]` int64."""
    angles = position_ids.to(torch.float32)[:, None, :, None] * frequencies.to(position_ids.device)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn `[B, heads, Q, head_dim]` by its rotary positions (half-split layout), computed in float32."""
    wide = states.to(torch.float32)
    first, second = wide.chunk(2, dim=-1)
    return (wide * cosines + torch.cat((-second, first), dim=-1) * sines).to(states.dtype)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, flavour: Flavour) -> Tensor:
    """Attend from `[B, H, Q, D]` queries to `[B, Hkv, S, D]` keys and values; `mask` `[B, 1, Q, S]` bool, true = visible.

    Every query must see at least one key. The portable flavour folds a group's heads into query rows, so that
    keys and values are never repeated, and computes its softmax in float32.
    """
    if flavour == "fused":
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=query.shape[1] != key.shape[1])
    batch, heads, rows, head_dim = query.shape
    kv_heads = key.shape[1]
    group = heads // kv_heads
    folded = (query * (1.0 / math.sqrt(head_dim))).reshape(batch, kv_heads, group * rows, head_dim)
    scores = torch.matmul(folded, key.transpose(2, 3)).to(torch.float32).reshape(batch, kv_heads, group, rows, -1)
    scores = torch.where(mask[:, :, None], scores, torch.finfo(torch.float32).min)
    weights = torch.softmax(scores, dim=-1).to(value.dtype).reshape(batch, kv_heads, group * rows, -1)
    return torch.matmul(weights, value).reshape(batch, heads, rows, head_dim)
