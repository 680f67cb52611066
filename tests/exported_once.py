"""Bundles of tiny checkpoints, exported once a run of the tests, also where several workers want them at the same time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of this run: the workers of a parallel one have a folder each in that which the run has."""
    root = tmp_path_factory.getbasetemp()
    return root.parent if "PYTEST_XDIST_WORKER" in os.environ else root


def exported_once(place: Path, write: Callable[[Path], object], *, flavour: str = "fused", dtype: str = "float32") -> Path:
    """Return the bundle in `place`, which is not to be written to; its checkpoint lies beside it.

    The first caller exports what `write` writes into the folder that it is given; the others wait for that.
    """
    from dllm_edge.export.bundle import export_bundle  # the runtime's tests run without torch

    place.mkdir(exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "bundle").exists():
            write(place / "checkpoint")
            export_bundle(place / "checkpoint", place / "bundle", flavour=flavour, dtype=dtype)
    return place / "bundle"
