"""What a validation found, level by level."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, Literal

LevelName = Literal["structure", "layers", "trajectory", "task"]
LEVELS: tuple[LevelName, ...] = ("structure", "layers", "trajectory", "task")


def finite(value: float) -> float | None:
    """The value for JSON, which knows no infinity."""
    return value if isfinite(value) else None


@dataclass
class Level:
    """One level: whether it holds, its findings as lines to print and as data."""

    name: LevelName
    passed: bool
    lines: list[str]
    data: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Report:
    """A validation of one bundle: what ran it, and what that was held against; `lost` says why its file was not written."""

    bundle: str
    levels: list[Level]
    versions: dict[str, str]
    subject: str = "ONNX Runtime on a CPU"
    reference: str = "torch in float32"
    lost: str | None = None

    @property
    def passed(self) -> bool:
        return all(level.passed for level in self.levels)

    def to_json(self) -> dict[str, Any]:
        found = asdict(self) | {"passed": self.passed}
        del found["lost"]
        return found
