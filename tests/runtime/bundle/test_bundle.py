from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle, recall, sha256_of
from dllm_edge.runtime.bundle.manifest import FileRecord, GraphFile, Manifest

CONFIG = ModelConfig("llada", 300, 64, 96, 2, 4, 2, 16, 1e4, 1e-5, 512, "bidirectional", (1, 7), mask_token_id=2)
GRAPHS = [
    GraphFile("step.onnx", "fused", "bfloat16", 23),
    GraphFile("step.float32.onnx", "fused", "float32", 23),
    GraphFile("step.portable.float32.onnx", "portable", "float32", 18),
]
FILES = {
    "weights/model-00001-of-00001.safetensors": b"0123456789" * 20_000,
    "step.onnx": b"a graph",
    "step.float32.onnx": b"another",
    "step.portable.float32.onnx": b"a third",
    "tokenizer.json": b"{}",
    "decoding.json": b'{"defaults": {"block_length": 32}, "systems": {}}',
}
WEIGHTS = "weights/model-00001-of-00001.safetensors"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle of arbitrary content: the runtime's tests run where nothing can be exported."""
    folder = tmp_path / "bundle"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    files = {name: FileRecord(sha256_of(folder / name), len(content)) for name, content in FILES.items()}
    manifest = Manifest("llada", CONFIG, (2,), 32, "bfloat16", "bfloat16", {"step": GRAPHS}, {"torch": "2.13.0"}, files)
    (folder / "manifest.json").write_text(json.dumps(manifest.to_json()))
    return folder


def refusal(folder: Path, verify: bool = False) -> str:
    with pytest.raises(DllmEdgeError) as caught:
        Bundle.open(folder, verify)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change_manifest(folder: Path, **fields: Any) -> None:
    data = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(data | fields))


def flip(file: Path, place: int = -1) -> None:
    """Change one bit of one byte, and leave size and time as they were."""
    state, content = file.stat(), bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_an_opened_bundle_is_what_was_written(folder: Path) -> None:
    bundle = Bundle.open(folder)
    assert bundle.config == CONFIG
    assert bundle.manifest.graphs == {"step": GRAPHS}
    assert (bundle.manifest.forbidden, bundle.manifest.candidates, bundle.manifest.stored) == ((2,), 32, "bfloat16")
    assert bundle.decoding == {"defaults": {"block_length": 32}, "systems": {}}


def test_further_files_belong_to_nobody(folder: Path) -> None:
    (folder / "engines").mkdir()
    (folder / "engines" / "plan").write_bytes(b"x")
    Bundle.open(folder, verify=True)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, -1])
def test_a_flipped_byte(folder: Path, name: str, place: int) -> None:
    flip(folder / name, place)
    message = refusal(folder)
    assert f"{folder / name}: its content changed since it was written" in message
    assert "run 'dllm-edge export CHECKPOINT BUNDLE --overwrite'" in message


def test_a_flipped_byte_anywhere_in_the_manifest(folder: Path) -> None:
    original = (folder / "manifest.json").read_bytes()
    for place in range(0, len(original), 7):
        (folder / "manifest.json").write_bytes(original)
        flip(folder / "manifest.json", place)
        assert "manifest.json: " in refusal(folder)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_truncated_or_missing_file(folder: Path, name: str) -> None:
    os.truncate(folder / name, 3)
    assert str(folder / name) in refusal(folder)
    (folder / name).unlink()
    assert name in refusal(folder)


def test_a_newer_schema(folder: Path) -> None:
    for field in ("schema_version", "contract_version"):
        original = (folder / "manifest.json").read_text()
        change_manifest(folder, **{field: 2})
        message = refusal(folder)
        assert f"{field} is 2, this dllm-edge reads up to 1: the bundle was made by a newer dllm-edge, upgrade" in message
        (folder / "manifest.json").write_text(original)
    change_manifest(folder, schema_version=0)
    assert "schema_version is 0, this dllm-edge needs 1: run 'dllm-edge export" in refusal(folder)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"schema_version": "1"}', '{"schema_version": 1, "contract_version": 1}']
)
def test_a_manifest_that_is_none(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    assert "manifest.json: " in refusal(folder)


def test_folders_that_are_no_bundle(tmp_path: Path) -> None:
    assert "there is no such bundle: make one with 'dllm-edge export" in refusal(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    assert "no bundle, it has no manifest.json" in refusal(tmp_path / "folder")
    (tmp_path / "file").write_text("")
    assert "there is no such bundle" in refusal(tmp_path / "file")


@pytest.mark.parametrize("name", ["/etc/passwd", "../other", "weights/../../other", ""])
def test_files_outside_the_bundle(folder: Path, name: str) -> None:
    manifest = replace(Bundle.open(folder).manifest, files={name: FileRecord("0", 0)})
    (folder / "manifest.json").write_text(json.dumps(manifest.to_json()))
    assert "which is not inside the bundle" in refusal(folder)


def test_the_weights_hash_is_checked_once_and_again_where_asked(folder: Path) -> None:
    Bundle.open(folder)
    flip(folder / WEIGHTS)
    Bundle.open(folder)  # identity, size and time are what they were
    assert "its content changed" in refusal(folder, verify=True)
    os.utime(folder / WEIGHTS)
    assert "its content changed" in refusal(folder)


def test_a_copy_is_read_again(folder: Path) -> None:
    Bundle.open(folder)
    flip(folder / WEIGHTS)
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    assert "its content changed" in refusal(copy)


@pytest.mark.parametrize("place", ["/dev/null/cache", "/proc/self/cache"])
def test_a_cache_that_cannot_be_written_costs_only_time(folder: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    Bundle.open(folder)
    assert recall((folder / WEIGHTS).stat()) is None
    flip(folder / WEIGHTS)
    assert "its content changed" in refusal(folder)


def test_a_bundle_on_read_only_media_opens(folder: Path) -> None:
    for path in (folder, folder / "weights"):
        path.chmod(0o555)
    Bundle.open(folder)
    for path in (folder, folder / "weights"):
        path.chmod(0o755)


@pytest.mark.parametrize(
    ("flavours", "compute", "file"),
    [
        (["fused", "portable"], "float32", "step.float32.onnx"),
        (["portable", "fused"], "float32", "step.portable.float32.onnx"),
        (["portable", "fused"], "bfloat16", "step.onnx"),
        (["portable"], "float32", "step.portable.float32.onnx"),
    ],
)
def test_a_graph_is_chosen_by_flavour_then_compute(folder: Path, flavours: list[str], compute: str, file: str) -> None:
    assert Bundle.open(folder).graph(flavours, compute).file == file


def test_a_graph_that_the_bundle_lacks(folder: Path) -> None:
    bundle = Bundle.open(folder)
    with pytest.raises(DllmEdgeError) as caught:
        bundle.graph(["portable"], "float16")
    held = "the bundle holds: fused in bfloat16, fused in float32, portable in float32"
    assert str(caught.value) == f"{folder}: needs a step graph that is portable in float16, {held}; use bfloat16 or float32"
    with pytest.raises(DllmEdgeError) as caught:
        bundle.graph(["portable"], "bfloat16")
    remedy = "export it again with the options that it had, --flavour both and --overwrite"
    assert str(caught.value) == f"{folder}: needs a step graph that is portable in bfloat16, {held}; {remedy}"


def test_malformed_decoding_settings(folder: Path) -> None:
    bundle = Bundle.open(folder)
    for content in ("{", "[]"):
        (folder / "decoding.json").write_text(content)
        with pytest.raises(DllmEdgeError, match=r"decoding\.json: it"):
            _ = bundle.decoding
