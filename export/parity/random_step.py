"""The torch module of a step with random weights, made where it will run: for its speed, not for what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ...graphs import contract
from ...graphs.config import ModelConfig
from ...graphs.contract import Profile
from ...graphs.dtypes import DType
from ...graphs.modules.step import StepModule


def random_step(config: ModelConfig, compute: DType, device: str) -> StepModule:
    """Weights are stored and computed in `compute`; none is ever in another memory than the device's."""
    kind = getattr(torch, compute)
    with torch.device("meta"):
        step = StepModule(config, [], "fused", kind).eval()
    step = step.to(kind).to_empty(device=device)
    with torch.no_grad():
        for parameter in step.parameters():
            parameter.normal_(0.0, 0.02)
        for buffer in step.buffers():
            buffer.zero_()
    return step


def repeated_step(config: ModelConfig, compute: DType, device: str, profile: Profile, compiled: bool) -> Callable[[], None]:
    """Runs a step over a full cache, to its end, each time it is called; `compiled` with `torch.compile`."""
    step: Any = random_step(config, compute, device)
    run = torch.compile(step) if compiled else step
    given = [_input(spec, profile, device) for spec in contract.inputs(config, compute)]

    @torch.inference_mode()
    def once() -> None:
        run(*given)
        if device != "cpu":
            torch.cuda.synchronize()

    return once


def _input(spec: contract.TensorSpec, profile: Profile, device: str) -> torch.Tensor:
    shape = spec.shape(profile)
    kind = getattr(torch, spec.dtype)
    if spec.name == "position_ids":
        return torch.arange(profile.capacity, profile.capacity + profile.queries, device=device).expand(shape)
    if spec.dtype == "bool":
        return torch.ones(shape, dtype=kind, device=device)
    return torch.zeros(shape, dtype=kind, device=device)
