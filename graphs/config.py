"""The architecture of a model as data: everything that a graph or a decoder needs to know about a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from .errors import DllmEdgeError, shown
from .schema import Range, check_fields, read

AttentionPattern = Literal["bidirectional", "block-causal", "causal"]
WHERE = "model configuration"


@dataclass(frozen=True)
class ModelConfig:
    """One decoder-only transformer with rotary positions, RMS norms and a gated (SwiGLU) feed-forward part.

    `attention` says which keys a position may see when every token is known: all of them (`bidirectional`), those of its
    own and earlier blocks of `attention_block` tokens (`block-causal`), or its own and earlier ones (`causal`).
    `logit_shift` is true where the row at position i - 1 predicts the token at position i (Dream, Fast-dLLM v2).

    Every dimension is bounded well above the largest published ones (Llama 3.1 405B has 126 layers, a width of 16,384 and 128
    heads, Gemma 3 262,208 ids, Llama 4 10,485,760 positions), so that a damaged number is refused before anything is made of
    that size. Raises `DllmEdgeError`.
    """

    family: str
    vocab_size: Annotated[int, Range(1, 1 << 22)]
    hidden_size: Annotated[int, Range(1, 1 << 17)]
    intermediate_size: Annotated[int, Range(1, 1 << 20)]
    layers: Annotated[int, Range(1, 1 << 10)]
    heads: Annotated[int, Range(1, 1 << 10)]
    kv_heads: Annotated[int, Range(1, 1 << 10)]
    head_dim: Annotated[int, Range(1, 1 << 12)]
    rope_theta: Annotated[float, Range(1e-6, 1e15)]
    norm_eps: Annotated[float, Range(1e-30, 1.0)]
    max_positions: Annotated[int, Range(1, 1 << 24)]
    attention: AttentionPattern
    eos_token_ids: tuple[int, ...]
    mask_token_id: int | None = None
    bos_token_id: int | None = None
    pad_token_id: int | None = None
    attention_block: Annotated[int, Range(0, 1 << 24)] = 0
    query_key_value_bias: bool = False
    output_bias: bool = False
    feed_forward_bias: bool = False
    query_key_norm: bool = False
    tie_embeddings: bool = False
    logit_shift: bool = False

    def __post_init__(self) -> None:
        check_fields(self, WHERE)
        if self.heads % self.kv_heads:
            raise DllmEdgeError(f"{WHERE}: {self.heads} heads do not divide into {self.kv_heads} key heads")
        if self.head_dim % 2:
            raise DllmEdgeError(f"{WHERE}: head_dim {self.head_dim} is odd; rotary positions need pairs")
        if self.attention == "block-causal" and self.attention_block < 1:
            raise DllmEdgeError(f"{WHERE}: block-causal attention needs attention_block of at least 1")
        named = {name: getattr(self, name) for name in ("mask_token_id", "bos_token_id", "pad_token_id")}
        ends = [("eos_token_ids", token) for token in self.eos_token_ids]
        for name, token in (*named.items(), *ends):
            if token is not None and not 0 <= token < self.vocab_size:
                raise DllmEdgeError(f"{WHERE}: {name} {shown(token)} lies outside the vocabulary of {self.vocab_size}")

    @property
    def diffusion(self) -> bool:
        """Whether the model has a mask token, so that it can be decoded by diffusion."""
        return self.mask_token_id is not None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"eos_token_ids": list(self.eos_token_ids)}

    @classmethod
    def from_json(cls, data: object) -> ModelConfig:
        """Read what `to_json` returned; raises `DllmEdgeError` for what is none."""
        return read(cls, data, WHERE)
