from __future__ import annotations

import os
from pathlib import Path

import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle

from ...permissions import permissions_hold
from .written import CONFIG, FILES, GRAPHS, flip, refusal


def test_an_opened_bundle_is_what_was_written(folder: Path) -> None:
    bundle = Bundle.open(folder)
    assert bundle.config == CONFIG
    assert bundle.manifest.graphs == {"step": GRAPHS}
    assert (bundle.manifest.forbidden, bundle.manifest.candidates, bundle.manifest.stored) == ((2,), 32, "bfloat16")
    assert bundle.decoding == {"defaults": {"block_length": 32}, "systems": {}}


def test_further_files_belong_to_nobody(folder: Path) -> None:
    (folder / "engines").mkdir()
    (folder / "engines" / "plan").write_bytes(b"x")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / ".DS_Store").write_bytes(b"")
    assert Bundle.open(folder, verify=True).ignored == ["chat_template.jinja"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("index", [0, -1])
def test_a_flipped_byte(folder: Path, name: str, index: int) -> None:
    flip(folder / name, index)
    message = refusal(folder)
    assert f"{folder / name}: its content changed since it was written" in message
    assert "run 'dllm-edge export CHECKPOINT BUNDLE --overwrite'" in message


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_truncated_or_missing_file(folder: Path, name: str) -> None:
    os.truncate(folder / name, 3)
    assert str(folder / name) in refusal(folder)
    (folder / name).unlink()
    assert name in refusal(folder)


def test_a_bundle_on_read_only_media_opens(folder: Path) -> None:
    for path in (folder, folder / "weights"):
        path.chmod(0o555)
    with permissions_hold():
        Bundle.open(folder, verify=True)
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
    for content in ("{", "[]", '{"defaults": 5}', '{"systems": {"vanilla": []}}', '{"defaults": {"a": NaN}}', '{"other": {}}'):
        (folder / "decoding.json").write_text(content)
        with pytest.raises(DllmEdgeError, match=r"decoding\.json: .*: the bundle is damaged"):
            _ = bundle.decoding
