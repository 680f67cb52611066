"""How a library's engines are opened: what each of the folders beside this file registers in `open`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..bundle.bundle import Bundle
from .base import Engine


class Opener(Protocol):
    """Opens a bundle on the engine `name` of a backend; it imports the library when it is called.

    `device` is one of the backend's; `threads` within an operator are a CPU's (0: all cores); `compute_dtype` is that of
    graphs and caches, None for the engine's own choice. Raises `DllmEdgeError` for what this machine lacks.
    """

    def __call__(self, bundle: Bundle, name: str, device: str, threads: int, compute_dtype: str | None) -> Engine: ...


@dataclass(frozen=True)
class Backend:
    """The engines of one library, by `names`, and the `devices` that they run on, the preferred first."""

    names: tuple[str, ...]
    devices: tuple[str, ...]
    open: Opener
