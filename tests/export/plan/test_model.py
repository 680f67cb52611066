from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dllm_edge.export.plan.model import PlannedModel
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.manifest import read_manifest


def test_a_config_alone_says_what_the_bundle_does(tiny_bundle: Callable[..., Path], tmp_path: Path) -> None:
    bundle = tiny_bundle("llada", "bfloat16")
    shutil.copy(bundle.with_name("checkpoint") / "config.json", tmp_path)
    shutil.copy(bundle / "manifest.json", tmp_path / "kept.json")
    from_config = PlannedModel.read(tmp_path)
    assert (from_config.config, from_config.precision) == (read_manifest(bundle).config, PlannedModel.read(bundle).precision)
    (tmp_path / "kept.json").rename(tmp_path / "manifest.json")
    assert PlannedModel.read(tmp_path).config == from_config.config


@pytest.mark.parametrize(("written", "planned"), [("float16", "bfloat16"), ("float32", "float32"), (None, "float32")])
def test_the_dtype_is_what_an_export_would_store(
    written: str | None, planned: str, tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    data = json.loads((tiny_bundle("dream").with_name("checkpoint") / "config.json").read_text())
    data.pop("dtype", None)
    data["torch_dtype"] = written
    (tmp_path / "config.json").write_text(json.dumps(data))
    assert PlannedModel.read(tmp_path).precision.dtype == planned


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(DllmEdgeError, match=r"there is no config\.json"):
        PlannedModel.read(tmp_path)
    with pytest.raises(DllmEdgeError, match="there is no such folder: give a bundle, or a folder"):
        PlannedModel.read(tmp_path / "none")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(DllmEdgeError, match="lacks schema_version"):
        PlannedModel.read(tmp_path)
