"""Timings outlive the builds that fail. TensorRT-RTX has none: here each graph compiled adds a letter to the file instead."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.export.tensorrt import compilation
from dllm_edge.export.tensorrt.build import build_engine
from dllm_edge.export.tensorrt.compilation import Compilation
from dllm_edge.export.tensorrt.options import BuildOptions
from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.runtime.engines.tensorrt.library import Library

WORKLOAD = Workload((Profile(1, 4, 8, 4), Profile(1, 8, 1, 4)), (8,), ((8, 4),))
OTHER = Workload((Profile(1, 4, 8, 4),))


@pytest.fixture
def build(bundle: Bundle, rtx: Library, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bytes]:
    """Build, and return the timings in the engine."""
    held: list[bytes] = []

    def load(_library: Library, _config: Any, timing_file: Path) -> None:
        held[:] = [timing_file.read_bytes() if timing_file.is_file() else b""]

    def save(_library: Library, _config: Any, timing_file: Path) -> None:
        timing_file.write_bytes(held[0] + b"x")

    monkeypatch.setattr(compilation, "load_timings", load)
    monkeypatch.setattr(compilation, "save_timings", save)

    def build(workload: Workload = WORKLOAD, **callbacks: Any) -> bytes:
        engine = build_engine(Compilation(bundle, rtx, ("sm86",), BuildOptions()), workload, **callbacks).engine
        return (engine.path / "timing.cache").read_bytes()

    return build


def left(bundle: Bundle) -> dict[str, bytes]:
    """Files beside the engines."""
    return {file.name: file.read_bytes() for file in (bundle.path / "engines").iterdir() if file.is_file()}


def interrupt(graph: str, _phase: str, share: float) -> None:
    if graph == "saliency" and share > 0.05:
        signal.raise_signal(signal.SIGINT)


def refuse(_engine: object) -> None:
    raise DllmEdgeError("it does not run")


@pytest.mark.parametrize(
    ("callbacks", "error", "timed"),
    [({"progress": interrupt}, KeyboardInterrupt, b"xx"), ({"trial": refuse}, DllmEdgeError, b"xxx")],
)
def test_the_next_build_finds_them(
    build: Callable[..., bytes], bundle: Bundle, rtx: Library, callbacks: Any, error: type[BaseException], timed: bytes
) -> None:
    with pytest.raises(error):
        build(**callbacks)
    assert left(bundle) == {f".tensorrt-rtx-{rtx.version}-sm86.timing.cache": timed}
    assert build() == timed + b"xxx"
    assert left(bundle) == {}
    assert build(OTHER) == timed + b"xxxx"
