from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.tensorrt.library import Library, find_library

from ..step_bundles import write_step_bundle


@pytest.fixture(scope="session")
def rtx() -> Library:
    pytest.importorskip("tensorrt_rtx")
    return find_library("tensorrt-rtx")


@pytest.fixture(scope="session")
def step_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, str], Bundle]:
    """`step_bundle(family, weights, flavour)`: a tiny bundle with one step graph, in one of `FORMATS`. Engines go into it."""

    @cache
    def write(family: str, weights: str, flavour: str) -> Bundle:
        return write_step_bundle(tmp_path_factory.mktemp(f"{family}-{weights}-{flavour}"), family, weights, flavour)

    return write


@pytest.fixture
def bundle(tiny_bundle: Callable[..., Path], tmp_path: Path) -> Bundle:
    """A bundle of the test's own, in float32 and both flavours."""
    return Bundle.open(shutil.copytree(tiny_bundle("llada"), tmp_path / "llada.bundle"))
