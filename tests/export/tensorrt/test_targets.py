from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dllm_edge.export.tensorrt.targets import choose_targets
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.engines.tensorrt.library import Library

CAPABILITIES = {"NONE": 0, "CURRENT": 1, "SM86": 86, "SM89": 89, "SM120": 120}
MODULE: Any = SimpleNamespace(ComputeCapability=SimpleNamespace(__members__=CAPABILITIES))
LIBRARIES = {
    "tensorrt": Library("tensorrt", "10.3.0", MODULE),
    "tensorrt-rtx": Library("tensorrt-rtx", "1.7.1", MODULE),
}


@pytest.mark.parametrize(
    ("runtime", "requested", "present", "chosen"),
    [
        ("tensorrt", [], "sm87", ("sm87",)),
        ("tensorrt", ["sm87"], "sm87", ("sm87",)),
        ("tensorrt-rtx", [], "sm89", ("sm89",)),
        ("tensorrt-rtx", ["sm86"], None, ("sm86",)),
        ("tensorrt-rtx", ["sm86"], "sm89", ("sm86",)),
        ("tensorrt-rtx", ["sm120", "sm86", "sm120"], None, ("sm86", "sm120")),
    ],
)
def test_targets(runtime: str, requested: list[str], present: str | None, chosen: tuple[str, ...]) -> None:
    assert choose_targets(LIBRARIES[runtime], requested, present) == chosen


@pytest.mark.parametrize(
    ("runtime", "requested", "present", "message"),
    [
        ("tensorrt", [], None, "this machine shows none: build on the machine that will run it"),
        ("tensorrt", ["sm86"], None, "this machine shows none"),
        (
            "tensorrt",
            ["sm86"],
            "sm87",
            r"builds for the GPU that is present \(sm87\), not for sm86: build on a machine that has it",
        ),
        ("tensorrt-rtx", [], None, "name one with --target, as in --target sm86"),
        ("tensorrt-rtx", ["sm87"], None, "does not build for 'sm87': choose of sm86, sm89, sm120"),
        ("tensorrt-rtx", ["none"], None, "does not build for 'none'"),
        ("tensorrt-rtx", [], "sm90", "does not build for 'sm90'"),
    ],
)
def test_targets_that_are_refused(runtime: str, requested: list[str], present: str | None, message: str) -> None:
    with pytest.raises(DllmEdgeError, match=message):
        choose_targets(LIBRARIES[runtime], requested, present)
