"""Parity of a bundle with torch, and of an engine with the bundle on a CPU, at four levels (`docs/parity.md`)."""

from .report import LEVELS, Level, LevelName, Report

__all__ = ["LEVELS", "Level", "LevelName", "Report"]
