from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.bundle.manifest import FileRecord
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.runtime.engines.tensorrt.fingerprint import FINGERPRINT, Fingerprint, Flags, fingerprint_of, read_fingerprint

from .engine_files import GRAPHS, WORKLOAD, add_engine, record, small_bundle


@pytest.fixture
def fingerprint(tmp_path: Path) -> Fingerprint:
    return add_engine(small_bundle(tmp_path)).fingerprint


def test_what_is_written_is_read(tmp_path: Path) -> None:
    engine = add_engine(small_bundle(tmp_path), flags=Flags(5, 1 << 30, True))
    assert read_fingerprint(engine.path) == engine.fingerprint
    assert engine.fingerprint.workload == WORKLOAD


@pytest.mark.parametrize(
    "other",
    [
        {"version": "10.3.0"},
        {"compute_capabilities": ("sm86",)},
        {"machine": "riscv64"},
        {"flavour": "portable"},
        {"compute": "float32"},
        {"graphs": {"step.onnx": "0"}},
        {"weights": "0"},
        {"workload": Workload((Profile(1, 4, 16, 5),))},
        {"flags": Flags(optimization_level=4)},
        {"flags": Flags(workspace=1)},
        {"flags": Flags(decomposable=True)},
        {"flags": Flags(tf32=True)},
        {"recipe": 1},
    ],
)
def test_another_input_is_another_build(fingerprint: Fingerprint, other: dict[str, Any]) -> None:
    assert fingerprint.same_build(replace(fingerprint, plans={}))
    assert fingerprint.same_build(replace(fingerprint, plans={"step.plan": FileRecord("0", 1)}))
    assert not fingerprint.same_build(replace(fingerprint, **other))


@pytest.mark.parametrize("name", ["weights/model.safetensors", "step.onnx", "saliency.onnx", "select.onnx"])
def test_other_content_of_equal_size_is_another_build(tmp_path: Path, name: str) -> None:
    """As weights that were trained further."""
    bundle = small_bundle(tmp_path)
    files = bundle.manifest.files
    changed = replace(bundle, manifest=replace(bundle.manifest, files=files | {name: record(b"x" * files[name].size)}))
    one, other, same = (
        fingerprint_of(each, "tensorrt", "10.16.1", ("sm87",), GRAPHS, WORKLOAD, Flags()) for each in (bundle, changed, bundle)
    )
    assert one.same_build(same)
    assert not one.same_build(other)


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data.pop("workload"),
        lambda data: data.pop("recipe"),
        lambda data: data.update(schema_version=2),
        lambda data: data.update(unknown=1),
        lambda data: data.update(plans=[]),
        lambda data: data["flags"].update(fast=True),
        lambda data: data["workload"].update(select=[[1, 2, 3]]),
        lambda data: data["workload"].update(profiles=[]),
        lambda data: data["workload"]["profiles"][0].update(queries=0),
        lambda data: data["workload"]["profiles"][0].update(queries=float("nan")),
        lambda data: data["workload"]["profiles"][0].update(queries="4"),
        lambda data: data["workload"].update(saliency=[True]),
        lambda data: data.update(compute="float64"),
        lambda data: data.update(compute_capabilities=[]),
        lambda data: data.update(compute_capabilities=[87]),
        lambda data: data.update(version=10.3),
        lambda data: data["flags"].update(workspace=1.5),
        lambda data: data["plans"]["step.plan"].update(size=None),
        lambda data: data["plans"].update({"../step.plan": data["plans"]["step.plan"]}),
        lambda data: data["graphs"].update({"step.onnx": 5}),
    ],
)
def test_what_is_no_fingerprint_is_none(tmp_path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    folder = add_engine(small_bundle(tmp_path)).path
    data = json.loads((folder / FINGERPRINT).read_text())
    edit(data)
    (folder / FINGERPRINT).write_text(json.dumps(data))
    assert read_fingerprint(folder) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff"])
def test_what_is_no_json_object_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FINGERPRINT).write_text(text, encoding="latin-1")
    assert read_fingerprint(tmp_path) is None
