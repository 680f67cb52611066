"""One line of `doctor`: something that is there or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

Version = Callable[[str], str | None]
"""Returns the version of an installed distribution, or None."""


@dataclass(frozen=True)
class Check:
    """`required`: without it nothing runs. `advice` says what to do where `ok` is false."""

    name: str
    ok: bool
    required: bool
    found: str
    advice: str = ""


def installed(name: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
