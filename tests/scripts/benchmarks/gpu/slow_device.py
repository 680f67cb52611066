"""A device that takes its time."""

from __future__ import annotations

import time

from ....runtime.host_device import HostDevice


class SlowDevice(HostDevice):
    """One whose work takes 20 ms."""

    def synchronise(self) -> None:
        super().synchronise()
        time.sleep(0.02)
