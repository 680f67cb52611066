"""On a configuration made up for it: TensorRT-RTX, the one that is here, times nothing and keeps no cache."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dllm_edge.export.tensorrt.timing_cache import TIMING_CACHE, load_timings, save_timings, seed_timings, timing_file_of
from dllm_edge.runtime.engines.tensorrt.library import Library

MODULE: Any = SimpleNamespace(ILogger=type("ILogger", (), {}))
TENSORRT, RTX = Library("tensorrt", "10.3.0", MODULE), Library("tensorrt-rtx", "1.7.1", MODULE)


class Config:
    """Takes caches that begin with the version they were made by."""

    cache: bytes | None = None

    def create_timing_cache(self, serialized_timing_cache: bytearray) -> bytes | None:
        assert type(serialized_timing_cache) is bytearray, "10.3 takes hold of it without the interpreter's lock"
        return None if serialized_timing_cache == b"cut off" else bytes(serialized_timing_cache)

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache and not cache.startswith(b"10.3.0"):
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: b"10.3.0 new timings")


def loaded(library: Library, file: Path) -> bytes | None:
    config = Config()
    load_timings(library, config, file)
    return config.cache


def test_timings_are_kept_and_found(tmp_path: Path) -> None:
    file = tmp_path / TIMING_CACHE
    assert loaded(TENSORRT, file) == b""
    save_timings(TENSORRT, Config(), file)
    assert loaded(TENSORRT, file) == b"10.3.0 new timings"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("content", [b"10.16.1 timings", b"cut off"])
def test_timings_of_another_version_are_dropped(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / TIMING_CACHE
    file.write_bytes(content)
    assert loaded(TENSORRT, file) == b""


def test_what_a_failed_build_left_goes_before_what_the_engine_has(tmp_path: Path) -> None:
    engine = tmp_path / "tensorrt-10.3.0-sm87"
    file = timing_file_of(engine)
    seed_timings(file, engine)
    assert not file.exists()
    engine.mkdir()
    (engine / TIMING_CACHE).write_bytes(b"10.3.0 engine's")
    seed_timings(file, engine)
    assert loaded(TENSORRT, file) == b"10.3.0 engine's"
    file.write_bytes(b"10.3.0 left")
    seed_timings(file, engine)
    assert loaded(TENSORRT, file) == b"10.3.0 left"


def test_a_save_that_is_broken_off_leaves_the_timings_that_there_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new timings are written, but not yet on the disk."""
    file = tmp_path / TIMING_CACHE
    file.write_bytes(b"10.3.0 old")

    def broken_off(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken_off)
        with pytest.raises(KeyboardInterrupt):
            save_timings(TENSORRT, Config(), file)
    assert loaded(TENSORRT, file) == b"10.3.0 old"
    save_timings(TENSORRT, Config(), file)
    assert loaded(TENSORRT, file) == b"10.3.0 new timings"
    assert list(tmp_path.iterdir()) == [file]


def test_rtx_keeps_none(tmp_path: Path) -> None:
    file = tmp_path / TIMING_CACHE
    save_timings(RTX, Config(), file)
    assert not file.exists()
    assert loaded(RTX, file) is None
