"""`decoding.json`: the settings that a bundle is decoded with where nothing else is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ...graphs.schema import read

Value = str | bool | int | float


@dataclass(frozen=True)
class DecodingDefaults:
    """`defaults` are settings of every system, `systems` further ones by system, `task` what they were made for.

    What the settings mean is known where systems are (`runtime.systems.defaults`).
    """

    defaults: dict[str, Value] = field(default_factory=dict)
    systems: dict[str, dict[str, Value]] = field(default_factory=dict)
    task: str | None = None


def read_defaults(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `decoding.json` holds, absent parts empty; raises `DllmEdgeError` for parts that it does not have."""
    parts = asdict(read(DecodingDefaults, dict(data)))
    return {name: part for name, part in parts.items() if part is not None}
