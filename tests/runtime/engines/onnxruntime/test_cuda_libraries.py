"""Which CUDA libraries are found, and where what is missing is said."""

from __future__ import annotations

import ctypes

import onnxruntime
import pytest

from dllm_edge.runtime.engines.onnxruntime import cuda_libraries


@pytest.fixture(autouse=True)
def _noisy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load"), raising=False)


@pytest.mark.parametrize(
    ("there", "found"), [((), None), (("libcudnn.so",), "libcudnn.so"), (("libcudnn.so.9",), "libcudnn.so.9")]
)
def test_cudnn_is_found_by_the_names_that_the_provider_asks_for(
    monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], found: str | None
) -> None:
    def load(name: str) -> None:
        if name not in there:
            raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert cuda_libraries.cudnn() == found


def test_what_is_missing_stays_off_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    cuda_libraries.load_cuda_libraries()
    assert capsys.readouterr() == ("", "Failed to load\n")
