"""Bundles with quantised weights: what is refused, what the manifest says, what validation finds."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from dllm_edge.export.bundle import export_bundle
from dllm_edge.export.parity.structure import check_structure
from dllm_edge.export.parity.torch_pair import TorchPair
from dllm_edge.export.parity.validate import validate
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.weight_formats import WeightFormat, WeightFormats
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.bundle.manifest import FileRecord, Manifest, _seal
from dllm_edge.runtime.bundle.verified import sha256_of
from dllm_edge.scripts.cli.main import main

from ..tiny import write_tiny

FORMATS = WeightFormats(WeightFormat("int4", 32), WeightFormat("int8", 32), WeightFormat("int8", 32))
OPTIONS: dict[str, Any] = {"weights": "int4", "head_weights": "int8", "embedding_weights": "int8", "dtype": "bfloat16"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to: copy it first."""
    folder = tmp_path_factory.mktemp("quantised")
    export_bundle(write_tiny(folder / "checkpoint", "fast-dllm-v2", dtype="bfloat16"), folder / "bundle", **OPTIONS)
    return folder / "bundle"


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "bundle")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "int3"}, "unknown weight format 'int3': choose one of plain, int8, int4"),
        ({"weights": "int8", "group": 16}, "weights in groups of 16: choose one of 32, 64, 128"),
        ({"weights": "int4", "group": 64}, "layers.0.down.weight has 96 inputs, .* into groups of 64: use --group 32"),
        ({"embedding_weights": "int4"}, "an embedding cannot be int4: use --embedding-weights int8 or plain"),
        ({"weights": "int8", "link": True}, "--link and quantised weights do not go together: .* leave out --link"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    checkpoint = write_tiny(tmp_path / "checkpoint", "llada")
    with pytest.raises(DllmEdgeError, match=message):
        export_bundle(checkpoint, tmp_path / "bundle", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_the_manifest_and_the_report_say_how_weights_are_stored(exported: Path) -> None:
    manifest = Bundle.open(exported).manifest
    assert (manifest.weights, manifest.stored, manifest.compute) == (FORMATS, "bfloat16", "bfloat16")
    assert {graph.opset for graph in manifest.graphs["step"] if graph.flavour == "portable"} == {21}
    report = json.loads((exported / "reports" / "weights.json").read_text())
    assert report["formats"] == FORMATS.to_json()
    assert 0.05 < report["layers"]["layers.1"] < 0.15
    assert 0.001 < report["layers"]["lm_head"] < 0.01


def test_a_manifest_that_does_not_say_so_is_of_plain_weights(exported: Path) -> None:
    data = {name: value for name, value in Bundle.open(exported).manifest.to_json().items() if name != "weights"}
    del data["manifest_sha256"]
    assert Manifest.from_json(data | {"manifest_sha256": _seal(data)}).weights == WeightFormats()


@pytest.mark.parametrize("weights", [None, {}, {"linear": {"name": "int2", "group": 32}}, {"tail": {}}])
def test_formats_that_are_none(bundle: Path, weights: Any) -> None:
    data = Bundle.open(bundle).manifest.to_json() | {"weights": weights}
    del data["manifest_sha256"]
    (bundle / "manifest.json").write_text(json.dumps(data | {"manifest_sha256": _seal(data)}))
    if weights == {}:
        assert check_structure(Bundle.open(bundle))
    else:
        with pytest.raises(DllmEdgeError):
            Bundle.open(bundle)


def test_all_levels_hold_over_its_own_weights_and_over_the_checkpoint_s(exported: Path, bundle: Path) -> None:
    for checkpoint in (None, exported.with_name("checkpoint")):
        report = validate(TorchPair(bundle, checkpoint))
        assert report.passed, [level.lines for level in report.levels]
        assert [level.name for level in report.levels] == ["structure", "layers", "trajectory", "task"]


def test_another_checkpoint_s_weights_fail_at_the_layers(bundle: Path, tmp_path: Path) -> None:
    other = write_tiny(tmp_path / "other", "fast-dllm-v2", dtype="bfloat16", seed=1)
    report = validate(TorchPair(bundle, other), level="layers")
    assert [level.passed for level in report.levels] == [True, False]


def tensors(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def shift(tensor: onnx.TensorProto) -> None:
    entry = next(entry for entry in tensor.external_data if entry.key == "offset")
    entry.value = str(int(entry.value) + 64)


def retype(tensor: onnx.TensorProto) -> None:
    tensor.data_type = onnx.TensorProto.UINT4


@pytest.mark.parametrize(
    ("name", "edit", "problem"),
    [
        ("layers.1.gate_up.weight.integers", shift, "points to weights/model-00001-of-00001.safetensors at byte"),
        ("layers.1.gate_up.weight.scales", shift, "points to weights/model-00001-of-00001.safetensors at byte"),
        ("embedding.weight.integers", shift, "where there is no such tensor"),
        ("layers.1.gate_up.weight.integers", retype, "is UINT4 [64, 192], the model has int4 [64, 192]"),
    ],
)
def test_misplaced_weights_are_named(bundle: Path, name: str, edit: Any, problem: str) -> None:
    file = "step.portable.onnx"
    model = onnx.load(str(bundle / file), load_external_data=False)
    edit(tensors(model)[name])
    (bundle / file).write_bytes(model.SerializeToString())
    manifest = Manifest.from_json(json.loads((bundle / "manifest.json").read_text()))
    record = FileRecord(sha256_of(bundle / file), (bundle / file).stat().st_size)
    changed = replace(manifest, files=manifest.files | {file: record})
    (bundle / "manifest.json").write_text(json.dumps(changed.to_json()))
    found = check_structure(Bundle.open(bundle))
    assert any(line.startswith(f"{file}: {name}") and problem in line for line in found), found


def test_the_command_line_says_what_rounding_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, path = write_tiny(tmp_path / "checkpoint", "llada"), tmp_path / "bundle"
    arguments = ["export", checkpoint, path, "--weights", "int4", "--head-weights", "int8", "--flavour", "fused"]
    for extra in ([], ["--overwrite", "--json"]):
        with pytest.raises(SystemExit):
            main([str(argument) for argument in (*arguments, *extra)])
        out = capsys.readouterr().out
        assert "changed quantised weights by" in " ".join(out.split()) or extra
    printed = json.loads(out)
    assert printed["weights"]["worst_tensor"].startswith("layers.")
    assert printed["weights"]["tensors"]["lm_head.weight"]["relative_error"] < 0.01
    with pytest.raises(SystemExit):
        main(["info", str(path)])
    text = " ".join(capsys.readouterr().out.split())
    assert "linear layers int4 in groups of 32, LM head int8 in groups of 32; the rest float32, computed in float32" in text
