"""The decoding systems, by name. One file a paper.

A system is found by being in this folder: importing the package imports every file of it, and a system registers itself.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from .. import unmasking as _rules  # noqa: F401 - so that every rule's settings are known
from .base import GUIDED, SYSTEMS, all_systems, find_system, fitting_systems

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["GUIDED", "SYSTEMS", "all_systems", "find_system", "fitting_systems"]
