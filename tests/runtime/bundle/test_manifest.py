from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.bundle.manifest import FileRecord

from .written import change_manifest, flip, refusal


def test_a_flipped_byte_anywhere_in_the_manifest(folder: Path) -> None:
    original = (folder / "manifest.json").read_bytes()
    for index in range(0, len(original), 7):
        (folder / "manifest.json").write_bytes(original)
        flip(folder / "manifest.json", index)
        assert "manifest.json: " in refusal(folder)


@pytest.mark.parametrize(("field", "known"), [("schema_version", 1), ("contract_version", 2)])
def test_another_version(folder: Path, field: str, known: int) -> None:
    change_manifest(folder, **{field: known + 1})
    newer = f"{field} is {known + 1}, this dllm-edge reads up to {known}: the bundle was made by a newer dllm-edge, upgrade"
    assert newer in refusal(folder)
    change_manifest(folder, **{field: known - 1})
    older = f"{field} is {known - 1}, this dllm-edge needs {known}: run 'dllm-edge export CHECKPOINT BUNDLE --overwrite'"
    assert refusal(folder).endswith(older)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"schema_version": "1"}', '{"schema_version": 1, "contract_version": 2}']
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
