"""Parity of a bundle with torch, at four levels (`docs/parity.md`)."""

from .report import LEVELS, Level, LevelName, Report
from .validate import validate

__all__ = ["LEVELS", "Level", "LevelName", "Report", "validate"]
