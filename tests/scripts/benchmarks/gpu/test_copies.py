from __future__ import annotations

import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.scripts.benchmarks.gpu.copies import time_copies

from ....runtime.host_device import HostDevice


def test_copies_are_checked_and_timed() -> None:
    device = HostDevice()
    rows = time_copies(device, sizes=(8192, 16384), rounds=2)
    assert [row["bytes"] for row in rows] == [8192, 16384]
    assert all(set(row["seconds"]) == {"upload", "within", "download"} for row in rows)
    assert (device.uploads, device.copies, device.downloads) == (6, 6, 6)


def test_bytes_that_come_back_wrong_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HostDevice, "copy", lambda *_, **__: None)
    with pytest.raises(DllmEdgeError, match=r"copies of 8192 bytes: \d+ of 8192 bytes came back wrong: send this line"):
        time_copies(HostDevice(), sizes=(8192,), rounds=1)
