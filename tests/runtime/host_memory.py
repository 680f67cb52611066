"""Host memory that stands for a device's, as strict as that may be: bounds, use after it was freed, and work done late."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable

import numpy as np

from dllm_edge.runtime.arrays import ByteArray
from dllm_edge.runtime.engines.sizes import ALIGNMENT

Work = Callable[[], None]
POISON = 0xFF  # no number, whatever its dtype


def at(address: int, nbytes: int) -> ByteArray:
    """Return the bytes at an address, whatever they are."""
    array: ByteArray = np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))
    return array


class LiveMemory:
    """Pieces of memory by address, from `take` to `free`; all that is not within one of them is out of bounds."""

    def __init__(self) -> None:
        self.pieces: dict[int, ByteArray] = {}

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def nbytes(self) -> int:
        return sum(piece.nbytes for piece in self.pieces.values())

    def take(self, nbytes: int, value: int = POISON) -> int:
        """Return the address of a new piece, which begins where CUDA's memory would, all its bytes `value`."""
        array = np.full(nbytes + ALIGNMENT, POISON, dtype=np.uint8)
        start = -array.ctypes.data % ALIGNMENT
        piece = array[start : start + nbytes]
        piece[:] = value
        self.pieces[piece.ctypes.data] = piece
        return int(piece.ctypes.data)

    def free(self, address: int) -> None:
        """Give a piece back; what still reads it finds no numbers."""
        self.pieces.pop(address)[:] = POISON

    def holds(self, address: int, nbytes: int = 1) -> bool:
        return any(start <= address and address + nbytes <= start + piece.nbytes for start, piece in self.pieces.items())

    def view(self, address: int, nbytes: int) -> ByteArray:
        """Return the bytes at an address of a piece."""
        assert self.holds(address, nbytes), "out of bounds, or freed"
        return at(address, nbytes)


class HostStream:
    """Work in its order, and as late as a device may do it: when it is waited for.

    So what nobody waited for is not there yet, and what a copy has yet to read must not be written again.
    """

    def __init__(self) -> None:
        self.queue: deque[Work] = deque()
        self.recording: list[Work] | None = None
        self.working = False

    def do(self, work: Work) -> None:
        """Add work to the queue, or to what is being recorded."""
        if self.recording is None:
            self.queue.append(work)
        else:
            self.recording.append(work)

    def free(self, work: Work) -> None:
        """Do what frees memory, after all work that there is: that may use it."""
        if self.queue or self.working:
            self.queue.append(work)
        else:
            work()

    def synchronise(self) -> None:
        assert self.recording is None, "nothing that is being recorded can be waited for"
        self.working = True
        try:
            while self.queue:
                self.queue.popleft()()
        finally:
            self.working = False

    def begin_recording(self) -> None:
        self.recording = []

    def end_recording(self) -> list[Work]:
        recorded, self.recording = self.recording, None
        assert recorded is not None
        return recorded
