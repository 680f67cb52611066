from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from dllm_edge.export import bundle as export
from dllm_edge.runtime.bundle import Bundle
from dllm_edge.runtime.engines.tensorrt_library import Library, find_library

from ...tiny import write_tiny
from .cases import FORMATS


@pytest.fixture(scope="session")
def rtx() -> Library:
    pytest.importorskip("tensorrt_rtx")
    return find_library("tensorrt-rtx")


@pytest.fixture(scope="session")
def step_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, str], Bundle]:
    """`step_bundle(family, weights, flavour)`: a tiny bundle with one step graph, in one of `FORMATS`. Engines go into it."""

    @cache
    def write(family: str, weights: str, flavour: str) -> Bundle:
        place, dtype = tmp_path_factory.mktemp(f"{family}-{weights}-{flavour}"), FORMATS[weights]
        write_tiny(place / "checkpoint", family, dtype=dtype)
        with pytest.MonkeyPatch.context() as patch:
            # No twin that computes in float32: it takes as long again to export.
            patch.setattr(export, "FLOAT32", dtype)
            stored = "plain" if weights == dtype else weights
            return export.export_bundle(place / "checkpoint", place / "bundle", flavour=flavour, dtype=dtype, weights=stored)

    return write


@pytest.fixture
def bundle(tiny_bundle: Callable[..., Path], tmp_path: Path) -> Bundle:
    """A bundle of the test's own, in float32 and both flavours."""
    return Bundle.open(shutil.copytree(tiny_bundle("llada"), tmp_path / "llada.bundle"))
