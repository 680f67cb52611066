"""Models to plan for that are nowhere on the disk, and scenarios with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dllm_edge.export.plan.decode import Decode
from dllm_edge.export.plan.devices import find_device
from dllm_edge.export.plan.model import PlannedModel, Precision
from dllm_edge.export.plan.scenario import Scenario
from dllm_edge.export.plan.target import target_of
from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.dtypes import DType
from dllm_edge.graphs.weight_formats import WeightFormat, WeightFormats


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


def planned_model(config: ModelConfig | None = None, dtype: DType = "bfloat16") -> PlannedModel:
    return PlannedModel(Path("model"), config or llada_8b(), Precision(dtype))


def quantised(linear: str, head: str = "plain", embedding: str = "plain", group: int = 128) -> PlannedModel:
    formats = WeightFormats(*(WeightFormat.named(name, group) for name in (linear, head, embedding)))
    return replace(planned_model(), precision=Precision("bfloat16", formats))


def scenario(device: str, decode: Decode, **changes: object) -> Scenario:
    """LLaDA 8B with TensorRT on a device; `changes` are fields of the target."""
    return Scenario(planned_model(), decode, replace(target_of(find_device(device)), **changes))  # type: ignore[arg-type]
