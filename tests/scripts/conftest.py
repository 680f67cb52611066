from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.scripts.cli.main import main
from dllm_edge.scripts.cli.terminal import bundles

from ..tiny import write_tiny

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line in this process: exit code, stdout, stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        code = end.value.code or 0
        assert isinstance(code, int)
        return code, out, err

    return run


@pytest.fixture
def bundle(tiny_bundle: Callable[..., Path]) -> Path:
    return tiny_bundle("llada")


@pytest.fixture
def demo_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A random checkpoint in the place of the demo's, and a cache folder of its own."""
    checkpoint = write_tiny(tmp_path / "checkpoint", "llada")
    decoding = {"defaults": {"gen_length": 16, "block_length": 8}, "task": "arithmetic"}
    (checkpoint / "decoding.json").write_text(json.dumps(decoding))
    monkeypatch.setattr(bundles, "CHECKPOINT", checkpoint)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return checkpoint


def parsed(text: str) -> dict[str, Any]:
    """Stdout of a `--json` run, which must be one object and nothing else."""
    data = json.loads(text)
    assert isinstance(data, dict)
    return data
