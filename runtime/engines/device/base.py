"""What the device loop asks of a device: memory, copies in one stream, and replaying what was once recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ...arrays import ByteArray
from ..base import LoadedGraph
from ..profiles import Shapes

Launch = Callable[[], None]


class Memory(Protocol):
    """Device memory, which goes back when the last reference to it does."""

    @property
    def address(self) -> int: ...

    @property
    def nbytes(self) -> int: ...


@dataclass(frozen=True)
class Region:
    """A pitched region of memory: planes of `height` runs of bytes, each run `pitch` bytes after the one before.

    It begins `x` bytes into the run `y` of the first plane, which is at `address`.
    """

    address: int
    pitch: int
    height: int
    x: int
    y: int


class RecordingError(Exception):
    """Why work could not be recorded."""


class Device(Protocol):
    """One device and one stream of work on it. All but `allocate`, `pinned` and `synchronise` return before they are done.

    So what is downloaded may be read, and what was uploaded may be written again, after the next `synchronise` alone.
    """

    @property
    def name(self) -> str: ...

    @property
    def shares_memory(self) -> bool:
        """Whether pinned host memory is the device's own memory, so that what runs there reads and writes it without a copy."""
        ...

    def shared_address(self, host: ByteArray) -> int:
        """Return where a device that shares memory finds pinned host memory."""
        ...

    def allocate(self, nbytes: int) -> Memory:
        """Take memory, its contents zeros; raises `DllmEdgeError` where there is not enough."""
        ...

    def pinned(self, nbytes: int) -> ByteArray:
        """Take host memory, its contents zeros, that copies to and from the device read and write directly."""
        ...

    def upload(self, target: int, source: ByteArray) -> None:
        """Copy pinned host memory to an address of the device."""
        ...

    def download(self, target: ByteArray, source: int) -> None:
        """Copy from an address of the device to pinned host memory."""
        ...

    def copy(self, target: Region, source: Region, width: int, rows: int, planes: int) -> None:
        """Copy `planes` times `rows` runs of `width` bytes within the device."""
        ...

    def synchronise(self) -> None:
        """Wait until all work is done."""
        ...

    def zero(self, memory: Memory) -> None:
        """Fill the memory with zeros."""
        ...

    def record(self, work: Launch) -> Launch:
        """Return a launch of the work that `work` gives to the stream, without doing it now; raises `RecordingError`."""
        ...


class Executor(Protocol):
    """Runs a bundle's graphs on a device, in its stream.

    `recordable`: its launches only give work to the stream, once each was done `warm_ups` times.
    """

    @property
    def recordable(self) -> bool: ...

    @property
    def warm_ups(self) -> int: ...

    @property
    def versions(self) -> Mapping[str, str]:
        """The version of each library that runs the graphs, by the library's name."""
        ...

    def prepare(self, graph: str, shapes: Shapes, addresses: dict[str, int], recorded: bool = False) -> Launch:
        """Return a launch of `graph` (`step`, `saliency` or `select`) over tensors at these addresses, inputs of these shapes.

        Outputs without an address are not wanted. One that will be `recorded` shares no state with any other.
        """
        ...

    def loaded(self, graph: str) -> LoadedGraph:
        """Return what runs `graph`, as the library holds it."""
        ...
