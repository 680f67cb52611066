"""Parity level 1: whether a bundle's graphs are what the contract says, and readable by what they are meant for."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto, ValueInfoProto

from ...graphs import contract
from ...graphs.contract import Flavour, TensorSpec
from ...graphs.dtypes import DTYPES
from ...graphs.errors import DllmEdgeError
from ...graphs.weight_formats import ALL_PLAIN, WeightFormats
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.manifest import GraphFile
from ..onnx.operators import operator_problems
from ..onnx.step_graph import ir_version_of, opset_of
from .weight_locations import check_weights


def check_structure(bundle: Bundle) -> list[str]:
    """What is wrong with the bundle's files and graphs, one line each; empty where nothing is.

    Reads every file once, for its hash; no weights come into memory.
    """
    problems = list(_files(bundle))
    for name in contract.GRAPHS:
        for graph in bundle.manifest.graphs.get(name, []):
            problems += (f"{graph.file}: {problem}" for problem in _graph(bundle, name, graph))
    return problems + list(_twins(bundle))


def _graph(bundle: Bundle, name: str, graph: GraphFile) -> Iterator[str]:
    try:
        model = onnx.load(str(bundle.path / graph.file), load_external_data=False)
        onnx.checker.check_model(_without_weights(model))
    except Exception as error:  # protobuf, onnx and the operating system have a kind each
        yield f"not a valid model: {str(error).splitlines()[0]}"
        return
    yield from _versions(bundle.manifest.weights if name == "step" else ALL_PLAIN, graph, model)
    yield from operator_problems(model, graph.flavour)
    yield from _interface(bundle, name, graph, model)
    if name == "step":
        yield from check_weights(bundle, model)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with inputs in the place of the tensors that lie in other files, which `check_weights` looks at.

    onnx would refuse those of a linked bundle, since a file with several names could be one that others change.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.initializer[:]
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            bare.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        else:
            bare.graph.initializer.append(tensor)
    return bare


def _files(bundle: Bundle) -> Iterator[str]:
    for name in bundle.manifest.files:
        yield from _file(bundle, name)


def _file(bundle: Bundle, name: str) -> Iterator[str]:
    try:
        bundle.check_file(name, verify=True)
    except DllmEdgeError as error:
        yield str(error)


def _twins(bundle: Bundle) -> Iterator[str]:
    graphs = bundle.manifest.graphs.get("step", [])
    for name in contract.GRAPHS:
        if not bundle.manifest.graphs.get(name):
            yield f"manifest.json: there is no {name} graph"
    for flavour in {graph.flavour for graph in graphs}:
        for compute in {bundle.manifest.compute, "float32"} - {graph.compute for graph in graphs if graph.flavour == flavour}:
            yield f"manifest.json: the {flavour} flavour has no graph that computes in {compute}"
    for graph in graphs:
        if graph.file not in bundle.manifest.files:
            yield f"manifest.json: {graph.file} is not among its files"


def _versions(formats: WeightFormats, graph: GraphFile, model: onnx.ModelProto) -> Iterator[str]:
    flavour: Flavour = "portable" if graph.flavour == "portable" else "fused"
    opset, ir_version = opset_of(flavour, formats), ir_version_of(flavour, formats)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets != {"": opset} or graph.opset != opset:
        yield f"opsets {opsets} (manifest: {graph.opset}), the {flavour} flavour has {opset} and no other domain"
    if model.ir_version > ir_version:
        yield f"IR version {model.ir_version}, the {flavour} flavour's readers take up to {ir_version}"


def _interface(bundle: Bundle, name: str, graph: GraphFile, model: onnx.ModelProto) -> Iterator[str]:
    inputs, outputs = contract.interface(name, bundle.config, graph.compute, bundle.manifest.candidates)
    yield from _values("input", inputs, list(model.graph.input))
    yield from _values("output", outputs, list(model.graph.output))


def _values(kind: str, specs: list[TensorSpec], values: list[ValueInfoProto]) -> Iterator[str]:
    if [value.name for value in values] != [spec.name for spec in specs]:
        different = {value.name for value in values} ^ {spec.name for spec in specs}
        yield f"its {kind}s are not the contract's: {', '.join(sorted(different)) or 'other order'}"
        return
    for value, spec in zip(values, specs, strict=True):
        tensor = value.type.tensor_type
        axes = tuple(axis.dim_param or axis.dim_value for axis in tensor.shape.dim)
        if axes != spec.axes or tensor.elem_type != DTYPES[spec.dtype].onnx:
            held = TensorProto.DataType.Name(tensor.elem_type)
            yield f"{kind} {spec.name} is {held} {list(axes)}, the contract has {spec.dtype} {list(spec.axes)}"
