"""One decode that is planned for: the system, and its lengths."""

from __future__ import annotations

from dataclasses import dataclass

from ...runtime.decoding.eviction import RETENTION
from ...runtime.decoding.settings import BLOCK_LENGTH, GEN_LENGTH, Settings
from ...runtime.systems import find_system


@dataclass(frozen=True)
class Decode:
    """`context` is the length of the canvas, prompt and generation together; `batch` sequences decode at a time.

    `retention` is the share of the slots that eviction keeps (None: the system's own).
    """

    system: str
    context: int
    gen_length: int = GEN_LENGTH.default
    block_length: int = BLOCK_LENGTH.default
    retention: float | None = None
    batch: int = 1

    @property
    def block(self) -> int:
        """Tokens of a block; all that are generated where `block_length` is 0."""
        return self.settings().block

    def settings(self) -> Settings:
        """Return the settings that this decode has, others the system's; raises `DllmEdgeError` for lengths that do not fit."""
        own = {"gen_length": self.gen_length, "block_length": self.block_length, "retention": self.kept}
        return Settings(**{**find_system(self.system).defaults, **own})

    @property
    def kept(self) -> float:
        """The share of the slots that eviction keeps."""
        own: float = find_system(self.system).defaults.get(RETENTION.name, RETENTION.default)
        return own if self.retention is None else self.retention
