"""Models to plan for, that are nowhere on the disk."""

from __future__ import annotations

from pathlib import Path

from dllm_edge.export.plan.model import Precision, Subject
from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.dtypes import DType


def llada_8b() -> ModelConfig:
    return ModelConfig(
        family="llada",
        vocab_size=126464,
        hidden_size=4096,
        intermediate_size=12288,
        layers=32,
        heads=32,
        kv_heads=32,
        head_dim=128,
        rope_theta=500000.0,
        norm_eps=1e-5,
        max_positions=4096,
        attention="bidirectional",
        eos_token_ids=(126081,),
        mask_token_id=126336,
    )


def subject(config: ModelConfig | None = None, dtype: DType = "bfloat16") -> Subject:
    return Subject(Path("model"), config or llada_8b(), Precision(dtype))
