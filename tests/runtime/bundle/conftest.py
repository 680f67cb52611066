from __future__ import annotations

from pathlib import Path

import pytest

from .written import write_bundle


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path, cache: Path) -> Path:
    """A bundle."""
    write_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"
