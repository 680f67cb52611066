from __future__ import annotations

import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.engines.device.base import Launch
from dllm_edge.scripts.benchmarks.gpu.recording import REPLAYS, time_recording

from ....runtime.host_device import HostDevice


def test_a_recording_is_replayed_and_each_replay_checked() -> None:
    device = HostDevice()
    result = time_recording(device, nbytes=8192)
    assert REPLAYS == 100
    assert (device.recorded, device.replayed, result["replays"]) == (1, 100, 100)


def test_a_device_that_does_not_record() -> None:
    with pytest.raises(DllmEdgeError, match=r"could not be recorded as a CUDA graph \(host memory does not record\)"):
        time_recording(HostDevice(records=False), nbytes=8192)


def test_a_replay_that_does_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(device: HostDevice, work: Launch) -> Launch:
        return lambda: None

    monkeypatch.setattr(HostDevice, "record", forgetful)
    with pytest.raises(DllmEdgeError, match=r"replay 0 of recorded copies: \d+ of 8192 bytes came back wrong"):
        time_recording(HostDevice(), nbytes=8192, replays=2)
