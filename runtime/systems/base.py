"""What a decoding system is to the driver: a coroutine over one canvas, and what it needs to be told and given."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from ...graphs.config import AttentionPattern
from ..decoding.canvas import Canvas
from ..decoding.settings import Settings
from ..decoding.step import Answer, CacheOperation, Step
from ..unmasking.unmasker import Unmasker

Decoding = Generator[Step | CacheOperation, Any, None]
"""Yields steps and cache operations; is sent an `Answer` for each; returns when nothing is left to decode."""

RULE_SETTINGS = (
    "gen_length",
    "block_length",
    "steps",
    "unmask",
    "confidence",
    "threshold",
    "factor",
    "reference_compat",
    "temperature",
    "early_stop",
    "max_steps",
)
"""Settings that every system with blocks and unmasking rules has."""

__all__ = ["RULE_SETTINGS", "Answer", "Decoding", "System"]


@dataclass(frozen=True)
class System:
    """A published way to decode. `capacity` says how many slots of its own cache a sequence keeps between refreshes.

    `attention` names the patterns of the models that it is for. `staged`: its refreshes go to a buffer of their own, from
    which slots are selected into the cache.
    """

    name: str
    summary: str
    source: str
    decode: Callable[[Canvas, Settings, Unmasker], Decoding]
    capacity: Callable[[Canvas, Settings], int]
    settings: tuple[str, ...]
    attention: tuple[AttentionPattern, ...]
    defaults: Mapping[str, Any]
    staged: bool = False
