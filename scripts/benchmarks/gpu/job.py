"""One measurement: which part, on which engine, of which model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

ENGINES = ("tensorrt", "tensorrt-rtx", "onnxruntime")
BLOCK = 32
# What to say before the model of a shape is made.
LARGE = {"8b": "8B shape: 16 GB for its checkpoint, 16 GB in float16, as much for each TensorRT engine, and minutes for each"}


@dataclass(frozen=True)
class Job:
    """`part` is a key of `once.MEASURES`; `engine` one of `ENGINES`, or torch; `bundle` a folder. Fields that a part has no
    use for are empty."""

    part: str
    engine: str = ""
    shape: str = ""
    compute: str = ""
    bundle: str = ""
    contexts: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        return ", ".join(word for word in (self.part, self.engine, self.shape, self.compute) if word)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_text(cls, text: str) -> Job:
        data = json.loads(text)
        return cls(**data | {"contexts": tuple(data["contexts"])})
