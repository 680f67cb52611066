from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from dllm_edge.export.bundle import export_bundle
from dllm_edge.export.parity.structure import check_structure
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.bundle.manifest import FileRecord, GraphFile, Manifest
from dllm_edge.runtime.bundle.verified import sha256_of

TinyBundle = Callable[..., Path]
Edit = Callable[[onnx.ModelProto], None]


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("llada", {}),
        ("llada", {"dtype": "float16"}),
        ("dream", {}),
        ("dream", {"dtype": "bfloat16", "flavour": "fused"}),
        ("sdar", {}),
        ("llama", {"flavour": "portable", "tie": True}),
    ],
)
def test_exports_have_the_structure_they_should(tiny_bundle: TinyBundle, family: str, options: dict[str, str]) -> None:
    assert check_structure(Bundle.open(tiny_bundle(family, **options))) == []


def test_a_linked_bundle_has_it_too(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    checkpoint = shutil.copytree(tiny_bundle("llada").with_name("checkpoint"), tmp_path / "checkpoint")
    bundle = export_bundle(checkpoint, tmp_path / "bundle", flavour="fused", link=True)
    assert (bundle.path / "weights" / "model.safetensors").stat().st_nlink == 2
    assert check_structure(bundle) == []


@pytest.fixture
def bundle(tiny_bundle: TinyBundle, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle("llada"), tmp_path / "bundle")


def rewrite(folder: Path, change: Callable[[Manifest], Manifest]) -> Bundle:
    """Change a bundle's manifest and open it."""
    manifest = change(Bundle.open(folder).manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest.to_json()))
    return Bundle.open(folder)


def edited(folder: Path, edit: Edit, file: str = "step.portable.onnx") -> list[str]:
    """The problems of a bundle whose graph was edited, and whose manifest knows."""
    model = onnx.load(str(folder / file), load_external_data=False)
    edit(model)
    (folder / file).unlink()
    (folder / file).write_bytes(model.SerializeToString())
    manifest = Bundle(folder, manifest_of(folder)).manifest
    record = FileRecord(sha256_of(folder / file), (folder / file).stat().st_size)
    changed = replace(manifest, files=manifest.files | {file: record})
    (folder / "manifest.json").write_text(json.dumps(changed.to_json()))
    return check_structure(Bundle.open(folder))


def manifest_of(folder: Path) -> Manifest:
    return Manifest.from_json(json.loads((folder / "manifest.json").read_text()))


def rename_axis(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "queries"


def fix_axis(model: onnx.ModelProto) -> None:
    model.graph.input[6].type.tensor_type.shape.dim[2].dim_value = 512


def change_type(model: onnx.ModelProto) -> None:
    model.graph.output[2].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16


def drop_output(model: onnx.ModelProto) -> None:
    del model.graph.output[2]


def swap_inputs(model: onnx.ModelProto) -> None:
    first, second = model.graph.input[0].name, model.graph.input[1].name
    model.graph.input[0].name, model.graph.input[1].name = second, first


def newer_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 21


def newer_ir(model: onnx.ModelProto) -> None:
    model.ir_version = 10


def foreign_operator(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Sigmoid")
    node.op_type = "BitwiseNot"


def foreign_type(model: onnx.ModelProto) -> None:
    axis = onnx.helper.make_tensor("axis", onnx.TensorProto.INT64, [], [1])
    model.graph.initializer.append(axis)
    model.graph.node.append(onnx.helper.make_node("CumSum", ["input_ids", "axis"], ["sums"], name="sums"))


def computed_axes(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Unsqueeze")
    model.graph.node.insert(0, onnx.helper.make_node("Identity", [node.input[1]], ["computed"]))
    node.input[1] = "computed"


def computed_sizes(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Split" and len(node.input) > 1)
    model.graph.node.insert(0, onnx.helper.make_node("Identity", [node.input[1]], ["computed"]))
    node.input[1] = "computed"


def weight(model: onnx.ModelProto) -> onnx.TensorProto:
    tensors: dict[str, onnx.TensorProto] = {tensor.name: tensor for tensor in model.graph.initializer}
    return tensors["layers.1.gate_up.weight"]


def shift_weight(model: onnx.ModelProto) -> None:
    entry = next(entry for entry in weight(model).external_data if entry.key == "offset")
    entry.value = str(int(entry.value) + 64)


def move_weight(model: onnx.ModelProto) -> None:
    next(entry for entry in weight(model).external_data if entry.key == "location").value = "weights/other.safetensors"


def turn_weight(model: onnx.ModelProto) -> None:
    weight(model).dims.reverse()


def rename_weight(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == "layers.1.gate_up.weight":
                node.input[place] = "layers.1.upper.weight"
    weight(model).name = "layers.1.upper.weight"


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (rename_axis, "input input_ids is INT64 ['B', 'queries'], the contract has int64 ['B', 'Q']"),
        (fix_axis, "input past_key_values.0.key is FLOAT ['B', 4, 512, 16]"),
        (change_type, "output entropy is FLOAT16"),
        (drop_output, "its outputs are not the contract's: entropy"),
        (swap_inputs, "its inputs are not the contract's: other order"),
        (newer_opset, "opsets {'': 21} (manifest: 18), the portable flavour has 18"),
        (newer_ir, "IR version 10"),
        (foreign_operator, "the operator BitwiseNot is not one of the portable flavour"),
        (foreign_type, "sums: CumSum runs in int64, TensorRT takes it in bfloat16, float16, float32"),
        (computed_sizes, "input 1 of Split is no constant"),
        (computed_axes, "input 1 of Unsqueeze is no constant"),
        (shift_weight, "layers.1.gate_up.weight points to weights/model-00001-of-00001.safetensors at byte"),
        (move_weight, "where there is no such tensor"),
        (turn_weight, "layers.1.gate_up.weight is FLOAT [64, 192], the model has float32 [192, 64]"),
        (rename_weight, "its weights are not the model's: layers.1.gate_up.weight, layers.1.upper.weight"),
    ],
)
def test_each_fault_is_named(bundle: Path, edit: Edit, problem: str) -> None:
    found = edited(bundle, edit)
    assert any(line.startswith("step.portable.onnx: ") and problem in line for line in found), found
    assert not any(line.startswith("step.onnx") for line in found)


def test_the_fused_flavour_may_use_its_operators_and_the_portable_may_not(bundle: Path) -> None:
    as_portable = GraphFile("step.onnx", "portable", "float32", 18)
    found = check_structure(rewrite(bundle, lambda manifest: replace(manifest, graphs={"step": [as_portable]})))
    assert any("the operator Attention is not one of the portable flavour" in line for line in found)


def test_files_are_hashed_again(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    (file,) = (bundle / "weights").iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert any("model-00001-of-00001.safetensors: its content changed" in line for line in check_structure(opened))


def test_a_graph_that_is_none(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    (bundle / "step.onnx").write_bytes(b"\xff" * 100)
    assert any(line.startswith("step.onnx: not a valid model") for line in check_structure(opened))


def test_missing_twins_and_graphs(bundle: Path) -> None:
    graphs = {"step": [graph for graph in manifest_of(bundle).graphs["step"] if graph.flavour == "fused"]}
    half = rewrite(bundle, lambda manifest: replace(manifest, graphs=graphs, compute="float16"))
    assert "manifest.json: the fused flavour has no graph that computes in float16" in check_structure(half)
    none = replace(half, manifest=replace(half.manifest, graphs={}))
    problems = check_structure(none)
    assert {f"manifest.json: there is no {name} graph" for name in ("step", "saliency", "select")} <= set(problems)


def test_a_cache_operation_over_caches_of_another_type(bundle: Path) -> None:
    def widen(model: onnx.ModelProto) -> None:
        for value in (*model.graph.input[:1], *model.graph.output):
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16

    found = edited(bundle, widen, "select.onnx")
    assert any("select.onnx: input rows is FLOAT16" in line and "the contract has float32" in line for line in found), found


GRAPHS = ("step.onnx", "step.portable.onnx", "saliency.onnx", "select.onnx")


@pytest.mark.parametrize("file", GRAPHS)
def test_every_graph_counts(bundle: Path, file: str) -> None:
    assert {graph.file for graphs in manifest_of(bundle).graphs.values() for graph in graphs} == set(GRAPHS)
    problems = edited(bundle, narrow_last_output, file)
    assert problems
    assert all(line.startswith(f"{file}: ") for line in problems)


def narrow_last_output(model: onnx.ModelProto) -> None:
    model.graph.output[-1].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
