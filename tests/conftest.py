from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Remembered hashes go to a folder of the test run, not to the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`tiny_bundle(family, dtype="float32", flavour="both", tie=False)`: a tiny checkpoint's bundle, exported once a run.

    Not to be written to: copy it first. Its checkpoint lies beside it (`bundle.with_name("checkpoint")`).
    """
    # The workers of a parallel run have a folder each in the one that the run has.
    root = tmp_path_factory.getbasetemp()
    shared = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def export(family: str, dtype: str = "float32", flavour: str = "both", tie: bool = False) -> Path:
        from dllm_edge.export.bundle import export_bundle  # the runtime's tests run without torch

        from .tiny import write_tiny

        place = shared / f"tiny-{family}-{dtype}-{flavour}{'-tied' if tie else ''}"
        place.mkdir(exist_ok=True)
        with (place / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (place / "bundle").exists():
                write_tiny(place / "checkpoint", family, dtype=dtype, tie=tie)
                export_bundle(place / "checkpoint", place / "bundle", flavour=flavour, dtype=dtype)
        return place / "bundle"

    return export
