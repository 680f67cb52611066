"""Step graphs as ONNX files: any flavour, any precision, weights as external data in safetensors files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from ...graphs import contract
from ...graphs.config import ModelConfig
from ...graphs.contract import Flavour, TensorSpec
from ...graphs.dtypes import DTYPES, DType
from ...graphs.modules.attention import rotary_frequencies
from ...graphs.modules.sampler_head import rivals
from ...graphs.weight_formats import ALL_PLAIN, WeightFormats
from ...graphs.whole_file import write_whole
from ..weights.location import WeightLocation
from .dequantise import dequantise_weights
from .join_products import join_products
from .shape_work import name_shape_work
from .trace import OPSETS, trace
from .unroll import unroll

# Opset 18 came with IR 8, which JetPack 6.2's parser and ONNX Runtime 1.23 read; IR 10 is the newest that all readers
# of opset 23 take.
IR_VERSIONS: dict[Flavour, int] = {"fused": 10, "portable": 8}
# Groups of a DequantizeLinear came with opset 21 and IR 10, which ONNX Runtime and TensorRT-RTX take; of JetPack 6.2's parser
# that is not known: the table in `tensorrt/operators.tsv` ends with opset 20. Nothing else that a step uses changed between
# 18 and 21 but in the types that it takes.
QUANTISED_OPSET, QUANTISED_IR_VERSION = 21, 10


def opset_of(flavour: Flavour, formats: WeightFormats) -> int:
    """Return the opset of a step graph over weights of these formats."""
    return max(OPSETS[flavour], QUANTISED_OPSET if formats.quantised else 0)


def ir_version_of(flavour: Flavour, formats: WeightFormats) -> int:
    return max(IR_VERSIONS[flavour], QUANTISED_IR_VERSION if formats.quantised else 0)


@dataclass(frozen=True)
class StepGraph:
    """What distinguishes one step graph from another over the same weights.

    `forbidden` ids are never candidates; `stored_dtype` is that of the weights in their files where `formats` leaves them
    plain, and of scales; `compute_dtype` is that of matrix products and caches; `joined` says that weights of the same input
    are stored as one (`graphs.joined_weights`), so that one product serves them.
    """

    config: ModelConfig
    forbidden: tuple[int, ...]
    flavour: Flavour
    stored_dtype: DType
    compute_dtype: DType
    formats: WeightFormats = ALL_PLAIN
    joined: bool = False

    @property
    def candidates(self) -> int:
        return contract.top_k(self.config, len(self.forbidden))


def write_step(path: Path, step: StepGraph, weights: Mapping[str, WeightLocation]) -> None:
    """Write the graph of `step` to `path`; `weights` says where each stored tensor lies, of which none may lack.

    No weight is read, and none comes into memory: a graph of 32 layers takes a few seconds and some hundred kilobytes.
    """
    write_whole(path, ir.to_proto(step_model(step, weights)).SerializeToString(), durable=False)


def step_model(step: StepGraph, weights: Mapping[str, WeightLocation]) -> ir.Model:
    """Return the model that `write_step` writes."""
    model = trace(step.formats.stored_config(step.config), step.candidates, step.flavour, step.stored_dtype, step.compute_dtype)
    graph = model.graph
    if step.joined:
        join_products(graph)
    unroll(graph, step.config.layers)
    dequantise_weights(graph, step.formats, step.stored_dtype, step.compute_dtype)
    _forget_types(graph)
    _attach_weights(graph, step, weights)
    _set_interface(graph.inputs, contract.inputs(step.config, step.compute_dtype))
    _set_interface(graph.outputs, contract.outputs(step.config, step.compute_dtype, step.candidates))
    ClearMetadataAndDocStringPass()(model)
    name_shape_work(graph)
    for domain in set(model.opset_imports) - {""}:
        del model.opset_imports[domain]
    graph.name = "step"
    model.opset_imports[""] = opset_of(step.flavour, step.formats)
    model.ir_version = ir_version_of(step.flavour, step.formats)
    model.producer_name, model.producer_version = "dllm-edge", None
    return model


def _forget_types(graph: ir.Graph) -> None:
    """Drop intermediate shapes and types: they are the example's names, and every reader infers its own."""
    for value in (value for node in graph for value in node.outputs):
        value.shape = value.type = None
    for node in graph:
        # No axis is ever empty where a step reshapes, and not every parser knows the attribute.
        if node.op_type == "Reshape":
            node.attributes.pop("allowzero", None)


def _attach_weights(graph: ir.Graph, step: StepGraph, weights: Mapping[str, WeightLocation]) -> None:
    banned = np.zeros(step.config.vocab_size, dtype=np.bool_)
    banned[list(step.forbidden)] = True
    frequencies = rotary_frequencies(step.config.head_dim, step.config.rope_theta).numpy()
    inside = {
        "head.forbidden": banned,
        "head.forbidden_ids": np.array(rivals(step.forbidden), dtype=np.int64)[:, None],
        "frequencies": frequencies,
    }
    interface = {spec.name for spec in contract.inputs(step.config, step.compute_dtype)}
    for value in [value for value in graph.inputs if value.name not in interface]:
        graph.inputs.remove(value)
        name = str(value.name).removeprefix("transformer.")
        value.name = name
        if name in inside:
            value.const_value, value.shape = ir.tensor(inside[name]), ir.Shape(inside[name].shape)
        else:
            value.const_value = _external(name, value, weights[name])
        graph.register_initializer(value)


def _external(name: str, value: ir.Value, location: WeightLocation) -> ir.ExternalTensor:
    dtype, shape = ir.DataType(DTYPES[location.dtype].onnx), location.shape
    assert value.shape is not None
    assert value.shape == shape, f"{name} is {shape}, the graph wants {value.shape}"
    assert value.dtype == dtype, f"{name} is {dtype}, the graph wants {value.dtype}"
    return ir.ExternalTensor(location.file, location.offset, location.length, dtype, shape=ir.Shape(shape), name=name)


def _set_interface(values: Sequence[ir.Value], specs: Sequence[TensorSpec]) -> None:
    """Give inputs or outputs the contract's order, dtypes and named axes."""
    named = {value.name: value for value in values}
    assert set(named) == {spec.name for spec in specs}, set(named) ^ {spec.name for spec in specs}
    for spec in specs:
        value = named[spec.name]
        value.shape, value.type = ir.Shape(spec.axes), ir.TensorType(ir.DataType(DTYPES[spec.dtype].onnx))
    values[:] = [named[spec.name] for spec in specs]  # type: ignore[index]
