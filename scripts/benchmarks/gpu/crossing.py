"""Work that crosses to the device and back, as a step's does without its kernels: up, within the device, down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....graphs.errors import DllmEdgeError
from ....runtime.arrays import ByteArray
from ....runtime.engines.device.base import Device, Memory, Region

# Bytes of a run, runs of a plane, and planes: a copy's shape within the device, as that of rows into a cache.
WIDTH, ROWS = 256, 32


@dataclass(frozen=True)
class Crossing:
    """Two pinned buffers, and two pieces of the device's memory between them."""

    device: Device
    source: ByteArray
    first: Memory
    second: Memory
    target: ByteArray

    @classmethod
    def of(cls, device: Device, nbytes: int) -> Crossing:
        """Make one of `nbytes`, a multiple of `WIDTH` times `ROWS`."""
        assert nbytes % (WIDTH * ROWS) == 0
        return cls(device, device.pinned(nbytes), device.allocate(nbytes), device.allocate(nbytes), device.pinned(nbytes))

    def upload(self) -> None:
        self.device.upload(self.first.address, self.source)

    def copy(self) -> None:
        new, old = (Region(memory.address, WIDTH, ROWS, x=0, y=0) for memory in (self.second, self.first))
        self.device.copy(new, old, WIDTH, ROWS, self.source.nbytes // (WIDTH * ROWS))

    def download(self) -> None:
        self.device.download(self.target, self.second.address)

    def run(self) -> None:
        self.upload()
        self.copy()
        self.download()

    def fill(self, seed: int) -> None:
        """Write other bytes into the source for each seed."""
        self.source[:] = np.random.default_rng(seed).integers(0, 256, self.source.nbytes, dtype=np.uint8)

    def check(self, what: str) -> None:
        """Raise `DllmEdgeError` unless what came back is what was sent."""
        if wrong := int(np.count_nonzero(self.source != self.target)):
            raise DllmEdgeError(f"{what}: {wrong} of {self.source.nbytes} bytes came back wrong: send this line")
