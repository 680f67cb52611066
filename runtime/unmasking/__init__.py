"""Unmasking: which of a block's masked positions to commit, and with which tokens. One file a rule.

A rule is found by being in this folder: importing the package imports every file of it, and a rule registers itself.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from .rule import RULES, find_rule

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["RULES", "find_rule"]
