from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dllm_edge import DllmEdgeError
from dllm_edge.runtime.bundle.demo import demo_path
from dllm_edge.runtime.generate import Model
from dllm_edge.scripts.cli.terminal import bundles

from ...conftest import Command, parsed


def test_demo_is_exported_on_first_use_and_kept(
    command: Command, demo_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("run", "demo", "--prompt", "Hi", "--json")
    code, out, err = command(*arguments)
    path = demo_path(demo_checkpoint)
    assert code == 0, err
    assert parsed(out)["settings"]["gen_length"] == 16
    assert f"exporting the demo's checkpoint to {path}" in err
    code, _, err = command(*arguments)
    assert code == 0
    assert "exporting" not in err

    (path / "tokenizer.json").write_text("{}")
    assert bundles.demo_bundle() == path
    assert "exporting" in capsys.readouterr().err, "a damaged bundle is exported again"
    assert bundles.demo_bundle(fresh=True) == path
    assert "exporting" in capsys.readouterr().err

    (demo_checkpoint / "config.json").write_text((demo_checkpoint / "config.json").read_text() + "\n")
    assert demo_path(demo_checkpoint) != path, "another checkpoint is another bundle"


@pytest.mark.parametrize("arguments", [("run", "--prompt", "Hi"), ("eval",), ("bench",)], ids=lambda words: words[0])
def test_threads_reach_the_engine(
    command: Command, bundle: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    asked = []

    def load(path: Path, **options: Any) -> Model:
        asked.append((path, options["threads"]))
        raise DllmEdgeError("enough")

    monkeypatch.setattr(bundles, "load", load)
    name, *options = arguments
    assert [command(name, bundle, *options, *threads)[0] for threads in ((), ("--threads", "3"))] == [2, 2]
    assert asked == [(bundle, 0), (bundle, 3)]


def test_a_cache_folder_that_cannot_be_written_says_how_to_name_another(
    tmp_path: Path, demo_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DllmEdgeError, match=r"file/dllm-edge: cannot be made \(Not a directory\): .*XDG_CACHE_HOME"):
        bundles.demo_bundle()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "full"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DllmEdgeError, match=r"the disk has 0 MB free: make room.*; .*XDG_CACHE_HOME"):
        bundles.demo_bundle()


def test_a_missing_demo_checkpoint_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "CHECKPOINT", tmp_path / "none")
    with pytest.raises(DllmEdgeError, match="the demo's checkpoint is missing"):
        bundles.demo_bundle()


def test_any_other_word_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert bundles.bundle_path("./demo") == Path("./demo")
    assert bundles.bundle_path("some/where") == Path("some/where")


WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from dllm_edge.scripts.cli.main import main; main(sys.argv[1:])"


@pytest.mark.parametrize("name", ["export", "validate"])
def test_without_the_export_extra(name: str, bundle: Path, tmp_path: Path) -> None:
    paths = (bundle.with_name("checkpoint"), tmp_path / "new") if name == "export" else (bundle,)
    command = [sys.executable, "-c", WITHOUT_TORCH, name, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert done.stderr == "error: this needs torch: install with pip install 'dllm-edge[export]'\n"
