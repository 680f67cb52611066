"""Parsing an ONNX graph into TensorRT's network of it, which must have the contract's inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...graphs import contract
from ...graphs.contract import TensorSpec
from ...graphs.dtypes import DTYPES, DType
from ...graphs.errors import DllmEdgeError
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.manifest import GraphFile
from ...runtime.engines.tensorrt.library import Library


def parse_graph(library: Library, network: Any, bundle: Bundle, name: str, graph: GraphFile) -> None:
    """Fill `network` with the graph `name`; raises `DllmEdgeError` where the parser does not take it, or it is another."""
    file = bundle.path / graph.file
    parser = library.module.OnnxParser(network, library.logger)
    # By its path, so that the weights beside it are found.
    if not library.call(parser.parse_from_file, str(file)):
        raise _refused(library, parser, file, graph)
    for problem in interface_problems(network, bundle, name, graph.compute):
        raise DllmEdgeError(f"{file}: {library.title} made another network of it, {problem}: {_export_again(graph)}")
    if attention_is_decomposed(graph):
        library.decompose_attention(network)


def attention_is_decomposed(graph: GraphFile) -> bool:
    """Return whether attention has to be several kernels: no TensorRT has one for it in float32."""
    return graph.flavour == "fused" and graph.compute == "float32"


def interface_problems(network: Any, bundle: Bundle, name: str, compute: DType) -> Iterator[str]:
    """Yield where a network's inputs and outputs are not the contract's of the graph `name`."""
    inputs, outputs = contract.interface(name, bundle.config, compute, bundle.manifest.candidates)
    yield from _differences("input", inputs, [network.get_input(index) for index in range(network.num_inputs)])
    yield from _differences("output", outputs, [network.get_output(index) for index in range(network.num_outputs)])


def _differences(role: str, specs: list[TensorSpec], tensors: list[Any]) -> Iterator[str]:
    """Yield where the tensors, each an `input` or an `output` by `role`, are not of these names, dtypes and axes."""
    if [tensor.name for tensor in tensors] != [spec.name for spec in specs]:
        different = {tensor.name for tensor in tensors} ^ {spec.name for spec in specs}
        yield f"with other {role}s ({', '.join(sorted(different)) or 'in another order'})"
        return
    for spec, tensor in zip(specs, tensors, strict=True):
        axes = tuple(axis if isinstance(axis, int) else -1 for axis in spec.axes)
        dtype = DTYPES[spec.dtype].tensorrt
        if tensor.dtype.name != dtype or tuple(tensor.shape) != axes:
            actual = f"{tensor.dtype.name} {list(tensor.shape)}"
            yield f"whose {role} {spec.name} is {actual} and should be {dtype} {list(axes)}"


def _refused(library: Library, parser: Any, file: Path, graph: GraphFile) -> DllmEdgeError:
    """Return the parser's first error as one line."""
    logged = library.last_error()
    if not parser.num_errors:
        return DllmEdgeError(
            f"{file}: {library.title} cannot read it ({logged or 'it does not say why'}): {_export_again(graph)}"
        )
    error = parser.get_error(0)
    operator, node = error.node_operator(), error.node_name()
    where = f"{operator} (node {node})" if operator else "this graph"
    reason = " ".join(error.desc().split())
    return DllmEdgeError(f"{file}: {library.title} does not take {where}: {reason}: {remedy(library, graph)}")


def remedy(library: Library, graph: GraphFile) -> str:
    """Return what to do where a library does not take a graph."""
    if graph.flavour == "fused":
        return "build the portable flavour with --flavour portable"
    return f"upgrade {library.name}, or report it with this line"


def _export_again(graph: GraphFile) -> str:
    """Return what to do where a graph is not the contract's."""
    return f"the file {graph.file} is damaged or of another version, run 'dllm-edge export CHECKPOINT BUNDLE --overwrite'"
