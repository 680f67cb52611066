"""The architecture of a model as data: everything that a graph or a decoder needs to know about a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from .errors import DllmEdgeError

AttentionPattern = Literal["bidirectional", "block-causal", "causal"]


@dataclass(frozen=True)
class ModelConfig:
    """One decoder-only transformer with rotary positions, RMS norms and a gated (SwiGLU) feed-forward part.

    `attention` says which keys a position may see when every token is known: all of them (`bidirectional`), those of its
    own and earlier blocks of `attention_block` tokens (`block-causal`), or its own and earlier ones (`causal`).
    `logit_shift` is true where the row at position i - 1 predicts the token at position i (Dream, Fast-dLLM v2).
    """

    family: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float
    norm_eps: float
    max_positions: int
    attention: AttentionPattern
    eos_token_ids: tuple[int, ...]
    mask_token_id: int | None = None
    bos_token_id: int | None = None
    pad_token_id: int | None = None
    attention_block: int = 0
    query_key_value_bias: bool = False
    output_bias: bool = False
    feed_forward_bias: bool = False
    query_key_norm: bool = False
    tie_embeddings: bool = False
    logit_shift: bool = False

    def __post_init__(self) -> None:
        for name in (
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "layers",
            "heads",
            "kv_heads",
            "head_dim",
            "max_positions",
        ):
            if getattr(self, name) < 1:
                raise DllmEdgeError(f"model configuration: {name} is {getattr(self, name)}; it must be at least 1")
        if self.heads % self.kv_heads:
            raise DllmEdgeError(f"model configuration: {self.heads} heads do not divide into {self.kv_heads} key heads")
        if self.head_dim % 2:
            raise DllmEdgeError(f"model configuration: head_dim {self.head_dim} is odd; rotary positions need pairs")
        if self.attention == "block-causal" and self.attention_block < 1:
            raise DllmEdgeError("model configuration: block-causal attention needs attention_block of at least 1")
        for name in ("mask_token_id", "bos_token_id", "pad_token_id"):
            token = getattr(self, name)
            if token is not None and not 0 <= token < self.vocab_size:
                raise DllmEdgeError(f"model configuration: {name} {token} lies outside the vocabulary of {self.vocab_size}")

    @property
    def diffusion(self) -> bool:
        """Whether the model has a mask token, so that it can be decoded by diffusion."""
        return self.mask_token_id is not None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"eos_token_ids": list(self.eos_token_ids)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ModelConfig:
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise DllmEdgeError(f"model configuration: unknown fields {', '.join(unknown)}")
        try:
            return cls(**(data | {"eos_token_ids": tuple(data["eos_token_ids"])}))
        except (KeyError, TypeError) as error:
            raise DllmEdgeError(f"model configuration: incomplete or malformed ({error})") from error
