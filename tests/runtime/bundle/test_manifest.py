from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.runtime.bundle import manifest
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.bundle.manifest import FileRecord
from dllm_edge.runtime.bundle.regular_file import SMALL

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
    outside = replace(Bundle.open(folder).manifest, files={name: FileRecord("0" * 64, 0)})
    (folder / "manifest.json").write_text(json.dumps(outside.to_json()))
    assert "which is not inside the bundle" in refusal(folder)


def rewrite(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Edit the manifest and put the hash over it right again, as somebody would who means it."""
    data = json.loads((folder / "manifest.json").read_text())
    edit(data)
    fields = {name: value for name, value in data.items() if name != manifest.SEAL}
    data[manifest.SEAL] = manifest._seal(fields)
    (folder / "manifest.json").write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda data: data["config"].update(layers=10**9),
            "config.layers is 1000000000; it must be at least 1 and",
        ),
        (lambda data: data["config"].update(layers=True), "config.layers is true; it must be a whole number"),
        (lambda data: data["config"].update(layers=2.0), "config.layers is 2.0; it must be a whole number"),
        (lambda data: data["config"].update(hidden_size=-64), "config.hidden_size is -64; it must be at least 1"),
        (lambda data: data["config"].update(rope_theta=10**400), "config.rope_theta is 1000"),
        (
            lambda data: data["config"].update(attention="sideways"),
            'config.attention is "sideways"; it must be one of',
        ),
        (lambda data: data["config"].update(eos_token_ids=[300]), "eos_token_ids 300 lies outside the vocabulary of 300"),
        (lambda data: data["config"].update(eos_token_ids=5), "config.eos_token_ids is 5; it must be a list"),
        (lambda data: data["config"].update(colour=1), 'config has the unknown field "colour"'),
        (lambda data: data["config"].pop("heads"), "config lacks heads"),
        (lambda data: data.update(config=[]), "config is []; it must be an object"),
        (lambda data: data.update(candidates=0), "candidates is 0; it must be at least 1"),
        (lambda data: data.update(candidates=300), "candidates is 300, 299 ids are allowed"),
        (lambda data: data.update(forbidden=[300]), "it forbids the id 300, which is outside the vocabulary of 300"),
        (lambda data: data.update(forbidden=[2, 2]), "it forbids an id twice"),
        (lambda data: data.update(stored="int8"), 'stored is "int8"; it must be one of float32, float16, bfloat16'),
        (lambda data: data.update(family="dream"), 'family is "dream", its config\'s "llada"'),
        (lambda data: data.update(tools={"torch": 2}), "tools.torch is 2; it must be text"),
        (lambda data: data.update(unknown=1), 'it has the unknown field "unknown"'),
        (lambda data: data.pop("graphs"), "it lacks graphs"),
        (lambda data: data.update(graphs={}), "graphs lacks step"),
        (lambda data: data["graphs"].update(step=[]), "graphs.step names no graph"),
        (lambda data: data["graphs"].update(leap=data["graphs"]["step"]), "graphs.leap is not a graph of this contract"),
        (
            lambda data: data["graphs"]["step"].append(data["graphs"]["step"][0]),
            "graphs.step has two of the same",
        ),
        (
            lambda data: data["graphs"]["step"][0].update(flavour="baked"),
            'graphs.step[0].flavour is "baked"; it must be',
        ),
        (lambda data: data["graphs"]["step"][0].update(file="other.onnx"), 'files lacks "other.onnx"'),
        (lambda data: data["graphs"]["step"][0].update(file="../step.onnx"), 'files lacks "../step.onnx"'),
        (lambda data: data["files"].pop("tokenizer.json"), 'files lacks "tokenizer.json"'),
        (lambda data: data["files"].pop("decoding.json"), 'files lacks "decoding.json"'),
        (lambda data: data["files"]["step.onnx"].update(size=-1), "files.step.onnx.size is -1; it must be at least 0"),
        (lambda data: data["files"]["step.onnx"].update(sha256="x"), 'files.step.onnx.sha256 is "x"; it must be a SHA-256'),
        (lambda data: data["files"].update({"a\0b": data["files"]["step.onnx"]}), "which is not inside the bundle"),
        (lambda data: data["files"].update({"\ud800": data["files"]["step.onnx"]}), "which is not inside the bundle"),
        (lambda data: data["files"].update({"./step.onnx": data["files"]["step.onnx"]}), "which is not inside the bundle"),
        (lambda data: data.update(weights={"linear": {"name": "int3", "group": 32}}), "unknown weight format 'int3'"),
        (lambda data: data.update(weights={"linear": {"name": "int8", "group": 32.0}}), "weights.linear.group is 32.0"),
        (
            lambda data: data.update(weights={"linear": {"name": "int8", "group": 128}}),
            "do not divide into groups of 128",
        ),
    ],
)
def test_each_field_is_checked_before_any_is_used(folder: Path, edit: Callable[[dict[str, Any]], Any], message: str) -> None:
    rewrite(folder, edit)
    refused = refusal(folder)
    assert refused.startswith(f"{folder}/manifest.json: ")
    assert message in refused
    assert refused.endswith("the bundle is damaged, run 'dllm-edge export CHECKPOINT BUNDLE --overwrite'")
    assert len(refused) < 400


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none(folder: Path, number: str) -> None:
    text = (folder / "manifest.json").read_text().replace("10000.0", number)
    (folder / "manifest.json").write_text(text)
    assert "it is not valid JSON (" in refusal(folder)


@pytest.mark.parametrize("depth", [400, 100_000])
def test_deep_nesting(folder: Path, depth: int) -> None:
    text = (folder / "manifest.json").read_text().replace("10000.0", "[" * depth + "]" * depth)
    (folder / "manifest.json").write_text(text)
    assert "manifest.json: " in refusal(folder)


def test_an_intact_manifest_that_was_written_anew_opens(folder: Path) -> None:
    rewrite(folder, lambda data: data.update(tools={"torch": "3"}))
    assert Bundle.open(folder).manifest.tools == {"torch": "3"}


def test_a_manifest_that_is_a_pipe_or_too_large(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")
    assert "manifest.json: cannot be read (it is a pipe, a socket or a device, not a regular file)" in refusal(folder)
    (folder / "manifest.json").unlink()
    with (folder / "manifest.json").open("wb") as stream:
        stream.truncate(SMALL + 1)
    assert "which is too large for its kind" in refusal(folder)
