from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from dllm_edge.export.tensorrt.build import build_engine
from dllm_edge.export.tensorrt.compilation import Compilation
from dllm_edge.export.tensorrt.options import BuildOptions
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.tensorrt.library import Library

from .builds import SMALL, entries


def test_attention_in_float32_has_no_kernel_of_its_own(bundle: Bundle, rtx: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Library, "decompose_attention", lambda *_: None)
    with pytest.raises(DllmEdgeError, match="could not build it"):
        build_engine(Compilation(bundle, rtx, ("sm86",), BuildOptions(flavour="fused")), SMALL)
    assert entries(bundle) == []


@pytest.mark.filterwarnings("ignore:Use del obj")
def test_a_builder_that_gives_nothing(bundle: Bundle, rtx: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(rtx.module.Builder):  # type: ignore[misc, name-defined]
        def build_serialized_network(self, *_: Any) -> None:
            rtx.logger.log(SimpleNamespace(name="ERROR"), "out of\nmemory")

    broken = replace(rtx, module=SimpleNamespace(**{**vars(rtx.module), "Builder": Failing}))
    vars(broken)["logger"] = rtx.logger
    with pytest.raises(
        DllmEdgeError, match=r"step.onnx: TensorRT-RTX .* could not build it \(out of memory\): .* --flavour portable"
    ):
        build_engine(Compilation(bundle, broken, ("sm86",), BuildOptions()), SMALL)
    assert entries(bundle) == []


def test_what_a_build_that_succeeds_logs_is_forgotten(bundle: Bundle, rtx: Library) -> None:
    def log(*_: Any) -> None:
        rtx.logger.log(SimpleNamespace(name="ERROR"), "Error Code 9: Skipping tactic 0x0000000000000000")

    build_engine(Compilation(bundle, rtx, ("sm86",), BuildOptions(optimization_level=0)), SMALL, progress=log)
    assert rtx.last_error() == ""
