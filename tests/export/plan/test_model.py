from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open

from dllm_edge.export.plan.model import Precision, Subject, parameters, read_weights, stored_weights
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.weight_formats import WeightFormat, WeightFormats
from dllm_edge.runtime.bundle.manifest import read_manifest

from ...tiny import FAMILIES

ITEM = {"F32": 4, "F16": 2, "BF16": 2}


def tensor_bytes(bundle: Path) -> dict[str, int]:
    """Bytes of each tensor that the bundle's weight files hold."""
    found = {}
    for file in (bundle / "weights").glob("*.safetensors"):
        with safe_open(file, framework="np") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                part = tensors.get_slice(name)
                count = 1
                for side in part.get_shape():
                    count *= side
                found[name] = count * ITEM[part.get_dtype()]
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_those_of_the_bundle(family: str, tiny_bundle: Callable[..., Path]) -> None:
    bundle = tiny_bundle(family, "bfloat16")
    subject, held = Subject.read(bundle), tensor_bytes(bundle)
    assert subject.precision.dtype == "bfloat16"
    assert stored_weights(subject.config, subject.precision) == sum(held.values())
    tied = subject.config.tie_embeddings
    assert read_weights(subject.config, subject.precision) == sum(held.values()) - (0 if tied else held["embedding.weight"])
    outer = held["embedding.weight"] + (0 if tied else held["lm_head.weight"])
    assert parameters(subject.config) == (sum(held.values()) - outer) // 2


def test_a_config_alone_says_what_the_bundle_does(tiny_bundle: Callable[..., Path], tmp_path: Path) -> None:
    bundle = tiny_bundle("llada", "bfloat16")
    shutil.copy(bundle.with_name("checkpoint") / "config.json", tmp_path)
    shutil.copy(bundle / "manifest.json", tmp_path / "kept.json")
    from_config = Subject.read(tmp_path)
    assert (from_config.config, from_config.precision) == (read_manifest(bundle).config, Subject.read(bundle).precision)
    (tmp_path / "kept.json").rename(tmp_path / "manifest.json")
    assert Subject.read(tmp_path).config == from_config.config


def test_a_tied_embedding_is_read_whole(tiny_bundle: Callable[..., Path]) -> None:
    subject = Subject.read(tiny_bundle("qwen3", "float32", tie=True))
    assert read_weights(subject.config, subject.precision) == stored_weights(subject.config, subject.precision)
    apart = Precision("float32", WeightFormats(head=WeightFormat("int8", 32)))
    matrix = subject.config.vocab_size * subject.config.hidden_size
    assert stored_weights(subject.config, apart) - read_weights(subject.config, apart) == 4 * matrix


@pytest.mark.parametrize(("written", "planned"), [("float16", "bfloat16"), ("float32", "float32"), (None, "float32")])
def test_the_dtype_is_what_an_export_would_store(
    written: str | None, planned: str, tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    data = json.loads((tiny_bundle("dream").with_name("checkpoint") / "config.json").read_text())
    data.pop("dtype", None)
    data["torch_dtype"] = written
    (tmp_path / "config.json").write_text(json.dumps(data))
    assert Subject.read(tmp_path).precision.dtype == planned


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(DllmEdgeError, match=r"there is no config\.json"):
        Subject.read(tmp_path)
    with pytest.raises(DllmEdgeError, match="there is no such folder: give a bundle, or a folder"):
        Subject.read(tmp_path / "none")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(DllmEdgeError, match="lacks schema_version"):
        Subject.read(tmp_path)
