from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from dllm_edge.export.bundle import export_bundle
from dllm_edge.runtime.bundle.bundle import Bundle

from ...steps import PROFILES, Graph, difference, graph_of, random_inputs
from ...tiny import write_tiny

TinyBundle = Callable[..., Path]


def products(bundle: Bundle, file: str) -> list[str]:
    """The weights that a layer's products multiply by, in the graph's order, as an initializer's name says."""
    model = onnx.load(str(bundle.path / file), load_external_data=False)
    producers = {output: node for node in model.graph.node for output in node.output}
    weights = {tensor.name for tensor in model.graph.initializer}
    found = []
    for name in (node.input[1] for node in model.graph.node if node.op_type == "MatMul"):
        while name in producers and producers[name].op_type in ("Transpose", "Cast", "DequantizeLinear"):
            name = producers[name].input[0]
        found += [name] * (name in weights and name.startswith("layers.1."))
    return found


@pytest.mark.parametrize("file", ["step.onnx", "step.portable.onnx", "step.portable.float32.onnx"])
def test_a_layer_has_four_products(tiny_bundle: TinyBundle, file: str) -> None:
    """The twin's weights are cast first."""
    bundle = Bundle.open(tiny_bundle("llada", "float16"))
    expected = [f"layers.1.{name}.weight" for name in ("query_key_value", "output", "gate_up", "down")]
    assert products(bundle, file) == expected


@pytest.mark.parametrize("family", ["llada", "dream"])
def test_linked_weights_stay_apart_and_give_the_same(tiny_bundle: TinyBundle, tmp_path: Path, family: str) -> None:
    """But for float32's rounding, which the order of a product's sums decides."""
    joined = Bundle.open(tiny_bundle(family))
    checkpoint = write_tiny(tmp_path / "checkpoint", family)
    linked = export_bundle(checkpoint, tmp_path / "bundle", link=True, flavour="portable", dtype="float32")
    assert (joined.manifest.joined, linked.manifest.joined) == (True, False)
    names = [name.split(".")[2] for name in products(linked, "step.portable.onnx")]
    assert names == ["query", "key", "value", "output", "gate", "up", "down"]
    inputs = random_inputs(joined.config, PROFILES[0])
    first, second = (Graph(bundle, graph_of(bundle, "portable", "float32"))(inputs) for bundle in (joined, linked))
    assert difference(first, second) < 1e-5


def test_biases_are_joined_too(tiny_bundle: TinyBundle) -> None:
    bundle = Bundle.open(tiny_bundle("dream"))
    model = onnx.load(str(bundle.path / "step.onnx"), load_external_data=False)
    biases = {tensor.name for tensor in model.graph.initializer if tensor.name.endswith(".bias")}
    assert biases == {f"layers.{layer}.query_key_value.bias" for layer in range(bundle.config.layers)}
    assert sum(node.op_type == "Split" and len(node.input) > 1 for node in model.graph.node) == 2 * bundle.config.layers


def test_int8_stays_apart_unless_asked_for(tmp_path: Path) -> None:
    checkpoint = write_tiny(tmp_path / "checkpoint", "llada")
    options: dict[str, Any] = {"weights": "int8", "flavour": "portable", "dtype": "float32"}
    apart = export_bundle(checkpoint, tmp_path / "apart", **options)
    joined = export_bundle(checkpoint, tmp_path / "joined", join=True, **options)
    assert (apart.manifest.joined, len(products(apart, "step.portable.onnx"))) == (False, 7)
    assert (joined.manifest.joined, len(products(joined, "step.portable.onnx"))) == (True, 4)
