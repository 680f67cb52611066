"""A plain-torch transformer in float32: one full forward, no cache.

A stale cache is said by overriding keys and values of chosen positions, an eviction by hiding positions.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import linear, silu


@dataclass(frozen=True)
class Frozen:
    keys: list[Tensor]  # per layer [Hkv, L, D], after RoPE
    values: list[Tensor]  # per layer [Hkv, L, D]
    positions: Tensor  # [L] bool: here the stored keys and values replace the computed ones
    hidden: Tensor | None = None  # [layers, L] bool: here nothing is attended to


@dataclass(frozen=True)
class Forward:
    logits: Tensor  # [L, V], of the raw rows: no shift
    keys: list[Tensor]  # per layer [Hkv, L, D], after RoPE, as computed (never the frozen ones)
    values: list[Tensor]  # per layer [Hkv, L, D]
    queries: list[Tensor]  # per layer [H, L, D], after RoPE


@dataclass(frozen=True)
class Config:
    layers: int
    heads: int
    key_heads: int
    head_dim: int
    rope_theta: float
    norm_eps: float
    mask_token: int
    eos_tokens: tuple[int, ...]
    shift: bool  # row i - 1 predicts position i
    causal: bool = False


LLADA_NAMES = {
    "embedding": "model.transformer.wte.weight",
    "norm": "model.transformer.ln_f.weight",
    "head": "model.transformer.ff_out.weight",
    "attention_norm": "model.transformer.blocks.{i}.attn_norm.weight",
    "mlp_norm": "model.transformer.blocks.{i}.ff_norm.weight",
    "query": "model.transformer.blocks.{i}.q_proj.weight",
    "key": "model.transformer.blocks.{i}.k_proj.weight",
    "value": "model.transformer.blocks.{i}.v_proj.weight",
    "output": "model.transformer.blocks.{i}.attn_out.weight",
    "gate": "model.transformer.blocks.{i}.ff_proj.weight",
    "up": "model.transformer.blocks.{i}.up_proj.weight",
    "down": "model.transformer.blocks.{i}.ff_out.weight",
}
DREAM_NAMES = {
    "embedding": "model.embed_tokens.weight",
    "norm": "model.norm.weight",
    "head": "lm_head.weight",
    "attention_norm": "model.layers.{i}.input_layernorm.weight",
    "mlp_norm": "model.layers.{i}.post_attention_layernorm.weight",
    "query": "model.layers.{i}.self_attn.q_proj.weight",
    "key": "model.layers.{i}.self_attn.k_proj.weight",
    "value": "model.layers.{i}.self_attn.v_proj.weight",
    "query_bias": "model.layers.{i}.self_attn.q_proj.bias",
    "key_bias": "model.layers.{i}.self_attn.k_proj.bias",
    "value_bias": "model.layers.{i}.self_attn.v_proj.bias",
    "output": "model.layers.{i}.self_attn.o_proj.weight",
    "gate": "model.layers.{i}.mlp.gate_proj.weight",
    "up": "model.layers.{i}.mlp.up_proj.weight",
    "down": "model.layers.{i}.mlp.down_proj.weight",
}


@dataclass(frozen=True)
class Model:
    config: Config
    tensors: Mapping[str, Tensor]  # by the checkpoint's names
    names: Mapping[str, str]  # role to name

    def tensor(self, role: str, layer: int = 0) -> Tensor:
        return self.tensors[self.names[role].format(i=layer)]

    def forward(
        self, ids: Tensor, frozen: Frozen | None = None, positions: Tensor | None = None, sees: Tensor | None = None
    ) -> Forward:
        """ids, positions: [L] int64; sees: [L, L] bool, which of all each of them attends to."""
        with torch.inference_mode():
            return self._forward(ids, frozen, torch.arange(len(ids)) if positions is None else positions, sees)

    def _forward(self, ids: Tensor, frozen: Frozen | None, positions: Tensor, sees: Tensor | None) -> Forward:
        config = self.config
        hidden = self.tensor("embedding")[ids]
        result = Forward(hidden, [], [], [])
        for layer in range(config.layers):
            normed = self._normalise(hidden, self.tensor("attention_norm", layer))
            query = rotate(self._project(normed, "query", layer, config.heads), positions, config.rope_theta)
            key = rotate(self._project(normed, "key", layer, config.key_heads), positions, config.rope_theta)
            value = self._project(normed, "value", layer, config.key_heads)
            result.queries.append(query)
            result.keys.append(key)
            result.values.append(value)
            visible = torch.ones(len(ids), dtype=torch.bool) if sees is None else sees
            if frozen is not None:
                replace = frozen.positions[None, :, None]
                key = torch.where(replace, frozen.keys[layer], key)
                value = torch.where(replace, frozen.values[layer], value)
                if frozen.hidden is not None:
                    visible = ~frozen.hidden[layer]
            mixed = attend(query, key, value, visible, config.causal).transpose(0, 1).reshape(len(ids), -1)
            hidden = hidden + linear(mixed, self.tensor("output", layer))
            normed = self._normalise(hidden, self.tensor("mlp_norm", layer))
            gated = silu(linear(normed, self.tensor("gate", layer))) * linear(normed, self.tensor("up", layer))
            hidden = hidden + linear(gated, self.tensor("down", layer))
        normed = self._normalise(hidden, self.tensor("norm"))
        tied = self.names["head"] not in self.tensors
        logits = linear(normed, self.tensor("embedding" if tied else "head"))
        return Forward(logits, result.keys, result.values, result.queries)

    def _normalise(self, rows: Tensor, weight: Tensor) -> Tensor:
        return weight * rows / torch.sqrt(rows.square().mean(-1, keepdim=True) + self.config.norm_eps)

    def _project(self, rows: Tensor, role: str, layer: int, heads: int) -> Tensor:
        bias = self.tensor(role + "_bias", layer) if role + "_bias" in self.names else None
        return linear(rows, self.tensor(role, layer), bias).reshape(len(rows), heads, -1).transpose(0, 1)


def rotate(rows: Tensor, positions: Tensor, theta: float) -> Tensor:
    """Rotary embedding, halves rotated. rows: [heads, L, D]; positions: [L]."""
    width = rows.shape[-1]
    frequency = theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = positions.double()[:, None] * frequency
    cosine, sine = angle.cos().float(), angle.sin().float()
    first, second = rows[..., : width // 2], rows[..., width // 2 :]
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)


def attend(query: Tensor, key: Tensor, value: Tensor, visible: Tensor, causal: bool = False) -> Tensor:
    """query: [H, L, D]; key, value: [Hkv, L, D]; visible: [L] bool, of the keys, or [L, L]."""
    if causal:
        visible = visible & torch.ones(query.shape[1], key.shape[1], dtype=torch.bool).tril()
    group = query.shape[0] // key.shape[0]
    key, value = key.repeat_interleave(group, 0), value.repeat_interleave(group, 0)
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    return torch.softmax(scores.masked_fill(~visible, -math.inf), -1) @ value


def shifted(logits: Tensor) -> Tensor:
    """Row i - 1 predicts position i; position 0 has only its own row. logits: [L, V]."""
    return torch.cat([logits[:1], logits[:-1]])


def load(folder: Path) -> Model:
    source = json.loads((folder / "config.json").read_text())
    tensors: dict[str, Tensor] = {}
    for shard in sorted(folder.glob("*.safetensors")):
        tensors.update({name: tensor.float() for name, tensor in load_file(shard).items()})
    match source["model_type"]:
        case "llada":
            return Model(_llada_config(source), tensors, LLADA_NAMES)
        case "Dream":
            return Model(_dream_config(source), tensors, DREAM_NAMES)
        case "llama":
            config = replace(_dream_config(source | {"mask_token_id": -1}), shift=False, causal=True)
            return Model(config, tensors, {role: name for role, name in DREAM_NAMES.items() if not role.endswith("bias")})
        case other:
            raise ValueError(f"{folder}: the reference knows the model types 'llada', 'Dream' and 'llama', not {other!r}")


def _llada_config(source: dict[str, Any]) -> Config:
    heads = source["n_heads"]
    return Config(
        layers=source["n_layers"], heads=heads, key_heads=source.get("n_kv_heads") or heads,
        head_dim=source["d_model"] // heads, rope_theta=source["rope_theta"], norm_eps=source["rms_norm_eps"],
        mask_token=source["mask_token_id"], eos_tokens=_ids(source["eos_token_id"]), shift=False,
    )  # fmt: skip


def _dream_config(source: dict[str, Any]) -> Config:
    heads = source["num_attention_heads"]
    theta = source.get("rope_theta") or source["rope_parameters"]["rope_theta"]
    return Config(
        layers=source["num_hidden_layers"], heads=heads, key_heads=source.get("num_key_value_heads") or heads,
        head_dim=source.get("head_dim") or source["hidden_size"] // heads, rope_theta=theta, norm_eps=source["rms_norm_eps"],
        mask_token=source["mask_token_id"], eos_tokens=_ids(source["eos_token_id"]), shift=True,
    )  # fmt: skip


def _ids(value: int | list[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)
