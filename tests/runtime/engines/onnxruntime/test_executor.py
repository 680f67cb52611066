from __future__ import annotations

import pytest

from dllm_edge.runtime.engines.onnxruntime.executor import OnnxRuntimeExecutor


@pytest.mark.parametrize(("device", "recordable"), [("cuda", True), ("cpu", False)])
def test_what_a_device_is_given_can_be_recorded(device: str, recordable: bool) -> None:
    """A recording has what was given to CUDA's stream; a CPU's session has no stream, and runs at once."""
    assert OnnxRuntimeExecutor({}, {}, device).recordable is recordable
