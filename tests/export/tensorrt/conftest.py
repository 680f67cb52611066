from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from dllm_edge.export import bundle as export
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.tensorrt.library import Library, find_library

from ... import tiny
from .cases import FORMATS

# Inputs that larger groups divide.
WIDE = {"HIDDEN": 128, "INTERMEDIATE": 256, "HEADS": 8}


@pytest.fixture(scope="session")
def rtx() -> Library:
    pytest.importorskip("tensorrt_rtx")
    return find_library("tensorrt-rtx")


@pytest.fixture(scope="session")
def step_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, str], Bundle]:
    """`step_bundle(family, weights, flavour)`: a tiny bundle with one step graph, in one of `FORMATS`. Engines go into it."""

    @cache
    def write(family: str, weights: str, flavour: str) -> Bundle:
        folder, form = tmp_path_factory.mktemp(f"{family}-{weights}-{flavour}"), FORMATS[weights]
        with pytest.MonkeyPatch.context() as patch:
            for name, value in WIDE.items() if form.group > 32 else ():
                patch.setattr(tiny, name, value)
            # No twin that computes in float32: it takes as long again to export.
            patch.setattr(export, "FLOAT32", form.dtype)
            return export.export_bundle(
                tiny.write_tiny(folder / "checkpoint", family, dtype=form.dtype),
                folder / "bundle",
                flavour=flavour,
                dtype=form.dtype,
                weights=form.layers,
                group=form.group,
                head_weights=form.head,
                embedding_weights=form.embedding,
            )

    return write


@pytest.fixture
def bundle(tiny_bundle: Callable[..., Path], tmp_path: Path) -> Bundle:
    """A bundle of the test's own, in float32 and both flavours."""
    return Bundle.open(shutil.copytree(tiny_bundle("llada"), tmp_path / "llada.bundle"))
