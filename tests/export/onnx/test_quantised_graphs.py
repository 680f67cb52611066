"""Graphs over quantised weights against the torch module with weights that a plain quantiser has rounded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from dllm_edge.export.bundle import export_bundle
from dllm_edge.export.checkpoint.checkpoint import Checkpoint
from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.modules.step import StepModule
from dllm_edge.runtime.bundle.bundle import Bundle

from ... import tiny
from ...steps import PROFILES, Graph, Reference, difference, graph_of, random_inputs
from ...tiny import FAMILIES, write_tiny
from ..weights.plain_quantiser import as_stored

FLAVOURS = ("fused", "portable")


def exported(folder: Path, family: str, *, tie: bool = False, dtype: str = "float32", **options: Any) -> Bundle:
    checkpoint = write_tiny(folder / "checkpoint", family, dtype=dtype, tie=tie)
    return export_bundle(checkpoint, folder / "bundle", dtype=dtype, **{"group": 32, **options})


def rounded_reference(bundle: Bundle) -> Reference:
    """The module with the checkpoint's weights, each rounded as the bundle's formats say, its LM head never tied."""
    checkpoint = Checkpoint.open(bundle.path.with_name("checkpoint"))
    formats, stored = bundle.manifest.weights, getattr(torch, bundle.manifest.stored)
    step = StepModule(replace(bundle.config, tie_embeddings=False), list(bundle.manifest.forbidden)).eval()
    weights = {}
    for name, parameter in step.transformer.named_parameters():
        source = name if name in checkpoint.tensors else "embedding.weight"
        own = formats.of(name, tuple(parameter.shape))
        weights[name] = as_stored(checkpoint.read(source), own.name, own.group, stored)
    step.transformer.load_state_dict(weights)
    return Reference(step, Graph(bundle, graph_of(bundle, "fused", "float32")).names)


@pytest.mark.parametrize("weights", ["int8", "int4"])
@pytest.mark.parametrize("family", FAMILIES)
def test_graphs_agree_with_torch_over_rounded_weights(tmp_path: Path, family: str, weights: str) -> None:
    bundle = exported(tmp_path, family, weights=weights, head_weights="int4" if weights == "int8" else "plain")
    reference = rounded_reference(bundle)
    graphs = [Graph(bundle, graph_of(bundle, flavour, "float32")) for flavour in FLAVOURS]
    for seed, profile in enumerate(PROFILES):
        inputs = random_inputs(bundle.config, profile, seed)
        expected = reference(inputs)
        for graph in graphs:
            actual = graph(inputs)
            assert difference(actual, expected) < 1e-4
            np.testing.assert_array_equal(actual["topk_ids"], expected["topk_ids"])


@pytest.mark.parametrize("group", [64, 128])
@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_larger_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str, group: int) -> None:
    """Of a model whose inputs they divide, twice or once at least."""
    for name, size in {"HIDDEN": 128, "INTERMEDIATE": 256, "HEADS": 8}.items():
        monkeypatch.setattr(tiny, name, size)
    bundle = exported(tmp_path, "llada", weights=weights, head_weights="int8", embedding_weights="int8", group=group)
    inputs = random_inputs(bundle.config, PROFILES[0])
    expected = rounded_reference(bundle)(inputs)
    for flavour in FLAVOURS:
        assert difference(Graph(bundle, graph_of(bundle, flavour, "float32"))(inputs), expected) < 1e-4


@pytest.mark.parametrize(
    "options",
    [
        {"head_weights": "int8"},
        {"embedding_weights": "int8"},
        {"weights": "int4", "head_weights": "int8", "embedding_weights": "int8"},
        {"weights": "int4"},
    ],
)
@pytest.mark.parametrize("tie", [False, True])
def test_heads_and_embeddings_tied_or_not(tmp_path: Path, tie: bool, options: dict[str, str]) -> None:
    bundle = exported(tmp_path, "qwen2", tie=tie, dtype="bfloat16", **options)
    inputs = random_inputs(bundle.config, PROFILES[0])
    expected = rounded_reference(bundle)(inputs)
    for flavour in FLAVOURS:
        assert difference(Graph(bundle, graph_of(bundle, flavour, "float32"))(inputs), expected) < 1e-4
    model = onnx.load(str(bundle.path / "step.onnx"), load_external_data=False)
    own_head = any(tensor.name.startswith("lm_head.weight") for tensor in model.graph.initializer)
    assert own_head == (not tie or bool({"head_weights", "embedding_weights"} & set(options)))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_float16_graphs_and_graphs_without_optimisation(tmp_path: Path, flavour: str) -> None:
    bundle = exported(tmp_path, "llada", dtype="float16", weights="int4", head_weights="int8", embedding_weights="int8")
    inputs = random_inputs(bundle.config, Profile(2, 7, 5, 3))
    expected = rounded_reference(bundle)(inputs)
    half, twin = (graph_of(bundle, flavour, compute) for compute in ("float16", "float32"))
    assert difference(Graph(bundle, twin, optimise=False)(inputs), expected) < 1e-4
    assert difference(Graph(bundle, twin)(inputs), expected) < 1e-4
    assert 0 < difference(Graph(bundle, half)(inputs), expected) < 0.05


def test_quantised_graphs_are_valid_and_of_the_opsets_that_they_need(tmp_path: Path) -> None:
    bundle = exported(tmp_path, "dream", dtype="bfloat16", weights="int4")
    for file, opset in (("step.onnx", 23), ("step.portable.onnx", 21)):
        onnx.checker.check_model(str(bundle.path / file), full_check=True)
        model = onnx.load(str(bundle.path / file), load_external_data=False)
        assert (model.opset_import[0].version, model.ir_version) == (opset, 10)
        nodes = [node for node in model.graph.node if node.op_type == "DequantizeLinear"]
        assert len(nodes) == 3 * 4
        attributes = {attribute.name: attribute.i for attribute in nodes[0].attribute}
        assert attributes == {"axis": 0, "block_size": 32}
        types = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in model.graph.initializer}
        assert types["layers.1.down.weight.integers"] == (onnx.TensorProto.INT4, [96, 64])
        assert types["layers.1.gate_up.weight.integers"] == (onnx.TensorProto.INT4, [64, 192])
        assert types["layers.1.down.weight.scales"] == (onnx.TensorProto.BFLOAT16, [3, 64])
