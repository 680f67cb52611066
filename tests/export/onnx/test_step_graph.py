from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

from dllm_edge.export.bundle import export_bundle
from dllm_edge.export.onnx.step_graph import StepGraph, step_model
from dllm_edge.export.onnx.trace import _trace, trace
from dllm_edge.export.weights.location import WeightLocation
from dllm_edge.graphs import contract
from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.modules.attention import rotary_frequencies
from dllm_edge.graphs.modules.transformer import LayerCache
from dllm_edge.graphs.parameters import parameter_shapes
from dllm_edge.runtime.bundle.bundle import Bundle

from ...steps import PROFILES, Graph, Reference, Tensors, difference, graph_of, random_inputs
from ...tiny import FAMILIES, write_tiny

TinyBundle = Callable[..., Path]
FLAVOURS = ("fused", "portable")
IN_FLOAT32 = ("Softmax", "Sin", "Cos", "ReduceMean")


def opened(path: Path) -> tuple[Bundle, Reference]:
    bundle = Bundle.open(path)
    return bundle, Reference.of(bundle, path.with_name("checkpoint"))


@pytest.mark.parametrize("family", FAMILIES)
def test_graphs_agree_with_torch_at_shapes_and_caches_other_than_the_example(tiny_bundle: TinyBundle, family: str) -> None:
    bundle, reference = opened(tiny_bundle(family))
    graphs = [Graph(bundle, graph_of(bundle, flavour, "float32")) for flavour in FLAVOURS]
    for seed, profile in enumerate(PROFILES):
        inputs = random_inputs(bundle.config, profile, seed)
        expected = reference(inputs)
        for graph in graphs:
            actual = graph(inputs)
            assert difference(actual, expected) < 1e-4
            np.testing.assert_array_equal(actual["topk_ids"], expected["topk_ids"])


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_unoptimised_graphs_agree_too(tiny_bundle: TinyBundle, flavour: str) -> None:
    bundle, reference = opened(tiny_bundle("sdar"))
    inputs = random_inputs(bundle.config, PROFILES[0])
    assert difference(Graph(bundle, graph_of(bundle, flavour, "float32"), optimise=False)(inputs), reference(inputs)) < 1e-4


def test_tied_embeddings_are_stored_once(tiny_bundle: TinyBundle) -> None:
    bundle, reference = opened(tiny_bundle("llama", flavour="portable", tie=True))
    model = onnx.load(str(bundle.path / "step.portable.onnx"), load_external_data=False)
    assert "lm_head.weight" not in {tensor.name for tensor in model.graph.initializer}
    inputs = random_inputs(bundle.config, PROFILES[0])
    assert difference(Graph(bundle, graph_of(bundle, "portable", "float32"))(inputs), reference(inputs)) < 1e-4


@pytest.mark.parametrize("padding", [0, 3])
def test_linked_files_serve_whatever_their_alignment(tmp_path: Path, padding: int) -> None:
    checkpoint = write_tiny(tmp_path / "checkpoint", "llada")
    file = checkpoint / "model.safetensors"
    content = file.read_bytes()
    data = 8 + int.from_bytes(content[:8], "little")
    file.write_bytes((data - 8 + padding).to_bytes(8, "little") + content[8:data] + b" " * padding + content[data:])
    bundle = export_bundle(checkpoint, tmp_path / "bundle", link=True, flavour="portable")
    inputs = random_inputs(bundle.config, PROFILES[0])
    actual = Graph(bundle, graph_of(bundle, "portable", "float32"))(inputs)
    assert difference(actual, Reference.of(bundle, checkpoint)(inputs)) < 1e-4


# Activations of about 3 rounded to 11 bits, in three layers; logits reach 10.
FLOAT16_TOLERANCE = 0.05


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_float16_graphs_and_their_float32_twins(tiny_bundle: TinyBundle, flavour: str) -> None:
    bundle, reference = opened(tiny_bundle("llada", "float16"))
    half, twin = (Graph(bundle, graph_of(bundle, flavour, compute)) for compute in ("float16", "float32"))
    for seed, profile in enumerate(PROFILES):
        inputs = random_inputs(bundle.config, profile, seed)
        expected = reference(inputs)
        assert difference(twin(inputs), expected) < 1e-4
        assert 0 < difference(half(inputs), expected) < FLOAT16_TOLERANCE


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_what_loses_in_half_precision_is_computed_in_float32(tiny_bundle: TinyBundle, dtype: str) -> None:
    """By the graph's own types: a CPU computes in float32 whatever they say, a GPU as they say."""
    bundle = Bundle.open(tiny_bundle("sdar", dtype))
    model = onnx.shape_inference.infer_shapes(onnx.load(str(bundle.path / "step.portable.onnx"), load_external_data=False))
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    inputs = [(node.op_type, types.get(node.input[0])) for node in model.graph.node if node.op_type in IN_FLOAT32]
    assert {operator for operator, _ in inputs} == set(IN_FLOAT32)
    assert {found for _, found in inputs} == {onnx.TensorProto.FLOAT}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_float16_survives_activations_beyond_its_range(tiny_bundle: TinyBundle, tmp_path: Path, flavour: str) -> None:
    source = tiny_bundle("llada", "float16").with_name("checkpoint")
    checkpoint = write_tiny(tmp_path / "checkpoint", "llada", dtype="float16")
    weights = load_file(source / "model.safetensors")
    embedding = weights["model.transformer.wte.weight"].float()
    weights["model.transformer.wte.weight"] = (embedding * 2e5).clamp(-6.4e4, 6.4e4).half()
    for name in weights:  # what the layers add to the residual stream
        if name.endswith(("attn_out.weight", "blocks.0.ff_out.weight")):
            weights[name] = (weights[name].float() * 6e3).half()
    save_file(weights, checkpoint / "model.safetensors")
    bundle = export_bundle(checkpoint, tmp_path / "bundle")
    reference = Reference.of(bundle, checkpoint)
    inputs = random_inputs(bundle.config, Profile(2, 16, 8, 16))
    assert residual_stream(reference, inputs) > 65504
    expected = reference(inputs)
    actual = Graph(bundle, graph_of(bundle, flavour, "float16"))(inputs)
    assert all(np.isfinite(output).all() for output in actual.values())
    assert difference(actual, expected) < FLOAT16_TOLERANCE


def residual_stream(reference: Reference, inputs: Tensors) -> float:
    """The largest magnitude that the residual stream ends with."""
    tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
    named = [contract.past_names(layer) for layer in range(reference.step.transformer.config.layers)]
    past = [LayerCache(tensors[key], tensors[value]) for key, value in named]
    with torch.inference_mode():
        states = reference.step.transformer(tensors["input_ids"], tensors["position_ids"], tensors["attention_mask"], past)
    return float(states.hidden.abs().max())


def test_bfloat16_graphs_are_valid_and_their_twin_runs(tiny_bundle: TinyBundle) -> None:
    bundle, reference = opened(tiny_bundle("dream", "bfloat16", flavour="fused"))
    model = onnx.load(str(bundle.path / "step.onnx"), load_external_data=False)
    onnx.checker.check_model(str(bundle.path / "step.onnx"), full_check=True)
    caches = [value for value in model.graph.input if value.name.startswith("past_key_values")]
    assert {value.type.tensor_type.elem_type for value in caches} == {onnx.TensorProto.BFLOAT16}
    inputs = random_inputs(bundle.config, PROFILES[0])
    assert difference(Graph(bundle, graph_of(bundle, "fused", "float32"))(inputs), reference(inputs)) < 1e-4


def test_graphs_name_their_axes_and_hold_their_constants(tiny_bundle: TinyBundle) -> None:
    bundle = Bundle.open(tiny_bundle("llada"))
    model = onnx.load(str(bundle.path / "step.onnx"), load_external_data=False)
    axes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in model.graph.input
    }
    assert axes["attention_mask"] == ["B", 1, "Q", "C + Q"]
    assert axes["past_key_values.2.value"] == ["B", 4, "C", 16]
    inside = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_location != onnx.TensorProto.EXTERNAL
    }
    np.testing.assert_array_equal(inside["frequencies"], rotary_frequencies(16, bundle.config.rope_theta).numpy())
    assert np.flatnonzero(inside["head.forbidden"]).tolist() == list(bundle.manifest.forbidden)
    assert model.producer_name == "dllm-edge"
    assert {value.name for value in model.graph.value_info} <= {tensor.name for tensor in model.graph.initializer}
    assert all(not node.metadata_props for node in model.graph.node)


LAYER = ("attention_norm", "query_key_value", "output", "feed_forward_norm", "gate_up", "down")


@pytest.mark.parametrize("file", ["step.onnx", "step.portable.onnx"])
def test_initializers_have_the_names_that_weights_are_stored_under(tiny_bundle: TinyBundle, file: str) -> None:
    model = onnx.load(str(tiny_bundle("llada") / file), load_external_data=False)
    layers = {f"layers.{layer}.{name}.weight" for layer in range(3) for name in LAYER}
    external = {tensor.name for tensor in model.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL}
    assert external == {"embedding.weight", "norm.weight", "lm_head.weight"} | layers


def test_a_bundle_s_graphs_are_the_same_each_time(tiny_bundle: TinyBundle) -> None:
    bundle = Bundle.open(tiny_bundle("llada", flavour="both"))
    shapes = parameter_shapes(bundle.config)
    locations = {name: WeightLocation("weights/x", 0, 0, "float32", shape) for name, shape in shapes.items()}
    step = StepGraph(bundle.config, bundle.manifest.forbidden, "portable", "float32", "float32")
    first, second = (step_model(step, locations) for _ in range(2))
    assert [node.name for node in first.graph] == [node.name for node in second.graph]
    assert first.graph is not second.graph


def test_a_trace_serves_every_depth_and_every_token_id(tiny_bundle: TinyBundle) -> None:
    config = Bundle.open(tiny_bundle("llada")).config
    deep = replace(config, layers=40, mask_token_id=0, eos_token_ids=(3,), rope_theta=1e6, family="other", max_positions=9)
    shapes = parameter_shapes(deep)
    locations = {name: WeightLocation("weights/x", 0, 0, "float32", shape) for name, shape in shapes.items()}
    trace(config, 32, "portable", "float32", "float32")
    before = _trace.cache_info().misses
    model = step_model(StepGraph(deep, (0,), "portable", "float32", "float32"), locations)
    assert _trace.cache_info().misses == before
    assert [value.name for value in model.graph.inputs] == [spec.name for spec in contract.inputs(deep, "float32")]
    assert len({node.name for node in model.graph}) == len(model.graph)
