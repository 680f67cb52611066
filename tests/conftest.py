from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from .exported_once import exported_once, shared_folder


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
    shared = shared_folder(tmp_path_factory)

    def export(family: str, dtype: str = "float32", flavour: str = "both", tie: bool = False) -> Path:
        from .tiny import write_tiny  # the runtime's tests run without torch

        place = shared / f"tiny-{family}-{dtype}-{flavour}{'-tied' if tie else ''}"
        write = partial(write_tiny, family=family, dtype=dtype, tie=tie)
        return exported_once(place, write, flavour=flavour, dtype=dtype)

    return export
