"""Tracing the step module: a one-layer step becomes an ONNX graph under fake tensors, without any weight in memory.

Every layer of a step has the same structure, so one is traced and `unroll` repeats it: a trace costs seconds for each
layer, a repetition milliseconds. The points where the layer begins and ends are marked with two operators of our own,
which the repetition takes out again.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import Dim

from ...graphs import contract
from ...graphs.config import ModelConfig
from ...graphs.contract import Flavour
from ...graphs.dtypes import DType
from ...graphs.modules.step import StepModule

MARKS = "dllm_edge.marks"
LAYER_BEGINS, LAYER_ENDS = "LayerBegins", "LayerEnds"
OPSETS: dict[Flavour, int] = {"fused": 23, "portable": 18}
# Sizes of the example, all different so that no two axes are taken for one.
EXAMPLE = contract.Profile(batch=2, queries=5, capacity=7, rows=3, targets=4)


def trace(config: ModelConfig, candidates: int, flavour: Flavour, stored_dtype: DType, compute_dtype: DType) -> ir.Model:
    """Return the step of a one-layer model, optimised, with its layer marked and its initializers as inputs without values.

    `config` names the architecture; its number of layers is ignored, and so are its token ids.
    """
    neutral = replace(
        config, family="", layers=1, max_positions=1, rope_theta=1.0, eos_token_ids=(), mask_token_id=None, bos_token_id=None,
        pad_token_id=None, attention="bidirectional", attention_block=0, logit_shift=False,
    )  # fmt: skip
    return _trace(neutral, candidates, flavour, stored_dtype, compute_dtype).clone()


@lru_cache(maxsize=32)
def _trace(config: ModelConfig, candidates: int, flavour: Flavour, stored_dtype: DType, compute_dtype: DType) -> ir.Model:
    inputs, outputs = contract.inputs(config, compute_dtype), contract.outputs(config, compute_dtype, candidates)
    with FakeTensorMode():
        step = _build(config, candidates, flavour, getattr(torch, stored_dtype), getattr(torch, compute_dtype))
        example = tuple(torch.zeros(spec.shape(EXAMPLE), dtype=getattr(torch, spec.dtype)) for spec in inputs)
    # Export takes fake parameters, but not a fake constant.
    step.transformer.frequencies = torch.zeros(config.head_dim // 2)
    _mark(step.transformer.layers[0])
    axes = [{index: Dim.DYNAMIC for index, axis in enumerate(spec.axes) if isinstance(axis, str)} for spec in inputs]
    fixed = len(inputs) - 2 * config.layers
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            step,
            example,
            input_names=[spec.name for spec in inputs],
            output_names=[spec.name for spec in outputs],
            opset_version=OPSETS[flavour],
            dynamic_shapes=(*axes[:fixed], tuple(axes[fixed:])),
            dynamo=True,
            optimize=False,
            verbose=False,
        )
        assert program is not None
        _detach_initializers(program.model.graph)
        program.optimize()
    return program.model


def _build(
    config: ModelConfig, candidates: int, flavour: Flavour, stored_dtype: torch.dtype, compute_dtype: torch.dtype
) -> StepModule:
    before = torch.get_default_dtype()
    torch.set_default_dtype(stored_dtype)  # fake parameters cannot be converted in place
    try:
        step = StepModule(config, list(range(config.vocab_size - candidates)), flavour, compute_dtype)
    finally:
        torch.set_default_dtype(before)
    return step.requires_grad_(False).eval()


def _mark(layer: nn.Module) -> None:
    def begins(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return _marked(LAYER_BEGINS, arguments[0]), *arguments[1:]

    def ends(_: nn.Module, arguments: tuple[Any, ...], results: tuple[Any, ...]) -> tuple[Any, ...]:
        return _marked(LAYER_ENDS, results[0]), *results[1:]

    layer.register_forward_pre_hook(begins)
    layer.register_forward_hook(ends)


def _marked(name: str, residual: Tensor) -> Tensor:
    return torch.onnx.ops.symbolic(f"{MARKS}::{name}", (residual,), dtype=residual.dtype, shape=residual.shape, version=1)


def _detach_initializers(graph: ir.Graph) -> None:
    """Turn initializers into inputs, so that no optimisation asks a fake tensor for its values."""
    for name in list(graph.initializers):
        value = graph.initializers.pop(name)
        value.const_value = None
        graph.inputs.append(value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter says about its own inside: deprecated calls, operators of packages not installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
