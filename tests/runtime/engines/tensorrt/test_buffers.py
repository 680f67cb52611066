from __future__ import annotations

import os
from pathlib import Path

import pytest

from dllm_edge.runtime.engines.tensorrt.buffers import mapped_file, own_bytes


def test_a_mapped_file_is_read_only_and_let_go(tmp_path: Path) -> None:
    (tmp_path / "step.plan").write_bytes(b"plan")
    with mapped_file(tmp_path / "step.plan") as content:
        assert bytes(content) == b"plan"
        with pytest.raises(TypeError):
            content[0] = 0
    assert content.closed


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "step.plan")
    with pytest.raises(OSError, match="not a regular file"), mapped_file(tmp_path / "step.plan"):
        pytest.fail("it was mapped")


def test_own_bytes_are_nobody_elses(tmp_path: Path) -> None:
    """Not even where there are none: `b""` would be one object for all threads."""
    (tmp_path / "timing.cache").write_bytes(b"timings")
    assert own_bytes(tmp_path / "timing.cache") == b"timings"
    none = own_bytes(tmp_path / "nowhere")
    assert none == b""
    assert none is not own_bytes(tmp_path / "nowhere")
