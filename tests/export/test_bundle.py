from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.numpy import load_file

from dllm_edge.export.bundle import MARGIN, export_bundle
from dllm_edge.export.staging import staged
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.families.llada import FAMILY as LLADA
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.bundle.manifest import GraphFile

from ..permissions import permissions_hold
from ..tiny import DEFINED, VOCABULARY, config_json, write_tiny
from .checkpoint.test_lora import write_adapter

# An export that stops, or is stopped, once its weights are written: nothing later is needed to be interrupted.
INTERRUPTED = """
import sys, time
from pathlib import Path
from dllm_edge.export.bundle import MARGIN, export_bundle
def wait(stage, fraction):
    if stage == "graphs":
        print("weights written", flush=True)
        time.sleep(60)
export_bundle(Path(sys.argv[1]), Path(sys.argv[2]), flavour="portable", progress=wait)
"""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "checkpoint", "llada")


def export(checkpoint: Path, bundle: Path, **options: Any) -> Bundle:
    return export_bundle(checkpoint, bundle, **{"flavour": "fused", **options})


def refusal(checkpoint: Path, bundle: Path, **options: Any) -> str:
    """The one line that an export is refused with; nothing may be left beside the bundle's path."""
    before = sorted(bundle.parent.iterdir()) if bundle.parent.is_dir() else []
    with pytest.raises(DllmEdgeError) as caught:
        export(checkpoint, bundle, **options)
    assert before == (sorted(bundle.parent.iterdir()) if bundle.parent.is_dir() else [])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_bundle_has_what_the_design_says(checkpoint: Path, tmp_path: Path) -> None:
    stages: list[tuple[str, float]] = []
    bundle = export(checkpoint, tmp_path / "bundle", flavour="both", progress=lambda *stage: stages.append(stage))
    assert sorted(path.name for path in bundle.path.iterdir()) == [
        "chat_template.jinja",
        "decoding.json",
        "manifest.json",
        "reports",
        "saliency.onnx",
        "select.onnx",
        "step.onnx",
        "step.portable.onnx",
        "tokenizer.json",
        "weights",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "checkpoint"]
    manifest = bundle.manifest
    assert (manifest.family, manifest.stored, manifest.compute, manifest.candidates) == ("llada", "float32", "float32", 32)
    assert set(manifest.forbidden) == {*range(DEFINED["llada"], VOCABULARY), bundle.config.mask_token_id}
    assert [(graph.file, graph.flavour, graph.compute, graph.opset) for graph in manifest.graphs["step"]] == [
        ("step.onnx", "fused", "float32", 23),
        ("step.portable.onnx", "portable", "float32", 18),
    ]
    assert {"dllm-edge", "torch", "onnx"} <= set(manifest.tools)
    assert bundle.decoding["defaults"] == {}
    assert bundle.decoding["systems"]["vanilla"]["block_length"] == 32
    assert {stage for stage, _ in stages} == {"weights", "graphs"}
    assert [fraction for stage, fraction in stages if stage == "graphs"][-1] == 1.0


def test_other_precisions_have_float32_twins(tiny_bundle: Callable[..., Path]) -> None:
    graphs = Bundle.open(tiny_bundle("llada", "float16")).manifest.graphs
    assert [(graph.file, graph.compute) for graph in graphs["select"]] == [
        ("select.onnx", "float16"),
        ("select.float32.onnx", "float32"),
    ]
    assert [(graph.file, graph.compute) for graph in graphs["step"]] == [
        ("step.onnx", "float16"),
        ("step.float32.onnx", "float32"),
        ("step.portable.onnx", "float16"),
        ("step.portable.float32.onnx", "float32"),
    ]


def write_none(folder: Path, *_: object) -> list[GraphFile]:
    """Write an empty graph, where it is other files that a test is about."""
    (folder / "step.onnx").write_bytes(b"")
    return [GraphFile("step.onnx", "fused", "float32", 23)]


def test_qwen_2_families_stay_bfloat16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dllm_edge.export.bundle._write_graphs", write_none)
    half = write_tiny(tmp_path / "checkpoint", "dream", dtype="float16")
    assert export(half, tmp_path / "bundle").manifest.stored == "bfloat16"
    assert export(half, tmp_path / "asked", dtype="float16").manifest.stored == "float16"


def test_a_linked_bundle_shares_the_checkpoint_s_file(checkpoint: Path, tmp_path: Path) -> None:
    bundle = export(checkpoint, tmp_path / "bundle", link=True)
    assert os.path.samefile(checkpoint / "model.safetensors", bundle.path / "weights" / "model.safetensors")


def test_decoding_settings_of_the_checkpoint_come_over_the_family_s(checkpoint: Path, tmp_path: Path) -> None:
    systems = {"vanilla": {"block_length": 16}, "fast-dllm-dual": {"threshold": 0.8}}
    own = {"defaults": {"early_stop": False}, "systems": systems, "task": "arithmetic"}
    (checkpoint / "decoding.json").write_text(json.dumps(own))
    decoding = export(checkpoint, tmp_path / "bundle").decoding
    assert decoding["systems"]["vanilla"] == LLADA.decoding_defaults(LLADA.config(config_json("llada"))) | {"block_length": 16}
    assert decoding["systems"]["fast-dllm-dual"] == {"threshold": 0.8}
    assert (decoding["defaults"], decoding["task"]) == (own["defaults"], "arithmetic")


@pytest.mark.parametrize(
    "content",
    [
        '{"block_length": 3}',
        '{"systems": {"vanilla": 3}}',
        '{"systems": {"magic": {}}}',
        '{"defaults": []}',
        '{"defaults": {"colour": 1}}',
        '{"defaults": {"threshold": NaN}}',
        '{"defaults": {"threshold": 7}}',
        "[]",
        "{",
    ],
)
def test_malformed_decoding_settings(checkpoint: Path, tmp_path: Path, content: str) -> None:
    (checkpoint / "decoding.json").write_text(content)
    assert "decoding.json" in refusal(checkpoint, tmp_path / "bundle")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flavour": "neither"}, "unknown flavour 'neither': choose one of both, fused, portable"),
        ({"dtype": "int8"}, "unknown dtype 'int8': choose one of auto, float32, float16, bfloat16"),
        ({"dtype": "float16", "link": True}, "leave out --link"),
    ],
)
def test_options_that_do_not_fit(checkpoint: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    assert message in refusal(checkpoint, tmp_path / "bundle", **options)


def test_a_tokenizer_of_another_model(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dllm_edge.export.bundle.undefined_ids", lambda *_: range(VOCABULARY))
    assert "the tokenizer defines none of the model's 288 ids" in refusal(checkpoint, tmp_path / "bundle")


def test_an_adapter_cannot_be_linked(checkpoint: Path, tmp_path: Path) -> None:
    write_adapter(tmp_path / "adapter")
    assert "leave out --link" in refusal(checkpoint, tmp_path / "bundle", link=True, lora=tmp_path / "adapter")


def test_paths_that_are_taken(checkpoint: Path, tmp_path: Path) -> None:
    export(checkpoint, tmp_path / "bundle")
    assert "already holds a bundle: give --overwrite" in refusal(checkpoint, tmp_path / "bundle")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes").write_text("mine")
    for overwrite in (False, True):
        assert "already exists and is no bundle" in refusal(checkpoint, tmp_path / "other", overwrite=overwrite)
    assert (tmp_path / "other" / "notes").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    assert "already exists and is no bundle" in refusal(checkpoint, tmp_path / "file", overwrite=True)
    (tmp_path / "empty").mkdir()
    export(checkpoint, tmp_path / "empty")


def test_overwriting_replaces_a_bundle_only_by_a_whole_one(checkpoint: Path, tmp_path: Path) -> None:
    before = export(checkpoint, tmp_path / "bundle")
    write_tiny(checkpoint, "llada", seed=1)

    def fails(stage: str, _: float) -> None:
        if stage == "graphs":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(checkpoint, tmp_path / "bundle", overwrite=True, progress=fails)
    assert Bundle.open(tmp_path / "bundle").manifest == before.manifest
    after = export(checkpoint, tmp_path / "bundle", overwrite=True)
    assert after.manifest.files.keys() == before.manifest.files.keys()
    assert after.manifest != before.manifest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "checkpoint"]


def test_a_bundle_moved_aside_by_a_killed_overwrite_comes_back(checkpoint: Path, tmp_path: Path) -> None:
    export(checkpoint, tmp_path / "bundle").path.rename(tmp_path / ".bundle.replaced-123")
    with pytest.raises(DllmEdgeError, match="already holds a bundle"):
        export(checkpoint, tmp_path / "bundle")
    Bundle.open(tmp_path / "bundle")


def test_paths_that_cannot_be_written(checkpoint: Path, tmp_path: Path) -> None:
    assert "there is no such folder: make it" in refusal(checkpoint, tmp_path / "missing" / "bundle")
    assert "there is no such folder" in refusal(checkpoint, checkpoint / "config.json" / "bundle")
    (tmp_path / "read-only").mkdir(mode=0o555)
    with permissions_hold():
        assert "Permission denied: choose a path that can be written" in (
            message := refusal(checkpoint, tmp_path / "read-only" / "bundle")
        )
        assert message.startswith(f"{tmp_path / 'read-only' / 'bundle'}: "), "no hidden file's name"


@pytest.mark.parametrize("options", [{}, {"dtype": "float16"}, {"weights": "int8"}, {"link": True}])
def test_a_disk_that_would_be_full(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """To the byte: the tensors as they will be stored, but for linked ones, and the margin for all else."""
    monkeypatch.setattr("dllm_edge.export.bundle._write_graphs", write_none)
    files = (export(checkpoint, tmp_path / "measured", **options).path / "weights").iterdir()
    tensors = 0 if "link" in options else sum(tensor.nbytes for file in files for tensor in load_file(file).values())
    for free, enough in ((MARGIN + tensors - 1, False), (MARGIN + tensors, True)):
        monkeypatch.setattr(shutil, "disk_usage", partial(lambda free, _: SimpleNamespace(free=free), free))
        if enough:
            export(checkpoint, tmp_path / "bundle", **options)
        else:
            message = refusal(checkpoint, tmp_path / "bundle", **options)
            assert f"the bundle needs {(free + 1) / 1e6:.0f} MB, the disk has {free / 1e6:.0f} MB free: make room" in message
            assert message.endswith("or choose another disk" + ("" if options else ", or use --link"))


def test_a_link_is_not_offered_across_file_systems(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Path("/dev/shm")  # noqa: S108
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("one file system is all there is")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with TemporaryDirectory(dir=other) as folder:
        assert refusal(checkpoint, Path(folder, "bundle")).endswith("0 MB free: make room, or choose another disk")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writes beyond `size` bytes of a file fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_while_weights_are_written(checkpoint: Path, tmp_path: Path) -> None:
    with largest_file(100_000):
        assert "the disk is full (File too large): make room and export again" in refusal(checkpoint, tmp_path / "bundle")


def test_a_disk_that_fills_up_while_graphs_are_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("dllm_edge.export.bundle.write_step", full)
    assert "the disk is full (No space left on device)" in refusal(checkpoint, tmp_path / "bundle")


def test_a_killed_export_leaves_nothing_that_opens_and_can_be_run_again(checkpoint: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    command = [sys.executable, "-c", INTERRUPTED, str(checkpoint), str(bundle)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "weights written\n"
        assert "another export to this path is running" in refusal(checkpoint, bundle)
        process.send_signal(signal.SIGKILL)
    left = [path for path in tmp_path.iterdir() if ".partial-" in path.name]
    assert len(left) == 1
    for path in (bundle, *left):
        with pytest.raises(DllmEdgeError):
            Bundle.open(path)
    export(checkpoint, bundle)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "checkpoint"]


def test_a_lock_is_of_one_path_and_goes_with_its_holder(tmp_path: Path) -> None:
    with staged(tmp_path / "one") as first, staged(tmp_path / "one more") as second:
        assert first != second
        with pytest.raises(DllmEdgeError, match="another export"), staged(tmp_path / "one"):
            pass
    with pytest.raises(RuntimeError), staged(tmp_path / "two"):
        raise RuntimeError
    with staged(tmp_path / "two"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "one more", "two"]


def test_leftovers_of_names_with_wildcards_are_their_own(tmp_path: Path) -> None:
    (tmp_path / ".ab.partial-1").mkdir()
    with staged(tmp_path / "a*"):
        pass
    assert (tmp_path / ".ab.partial-1").is_dir()
    with staged(tmp_path / "ab"):
        assert not (tmp_path / ".ab.partial-1").exists()
