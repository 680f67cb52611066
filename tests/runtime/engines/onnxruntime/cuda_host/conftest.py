"""Fixtures of tests that `make test-cuda-host` runs: it puts an `onnxruntime-gpu` of its own before the other."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from .libraries import STUBS
from .stub_cuda import StubCuda

# They export tiny bundles; the runtime's other tests run where nothing can be exported.
collect_ignore_glob = [] if find_spec("torch") else ["test_*.py"]


@pytest.fixture(scope="session")
def site() -> Path:
    """Where `onnxruntime-gpu` and the stubs are."""
    import onnxruntime

    folder = Path(onnxruntime.__file__).parents[1]
    if not (folder / STUBS).exists():
        pytest.fail("these tests run over stubs of CUDA's libraries: make test-cuda-host")
    return folder


@pytest.fixture(scope="session")
def loaded(site: Path) -> StubCuda:
    return StubCuda(site / STUBS)


@pytest.fixture
def cuda(loaded: StubCuda, monkeypatch: pytest.MonkeyPatch) -> StubCuda:
    """The stub in place of CUDA, its counts at zero."""
    monkeypatch.setattr("dllm_edge.runtime.engines.device.cuda._bindings", lambda: loaded)
    loaded.counts()
    return loaded
