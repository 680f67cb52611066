"""One decode that is planned for: the system, and its lengths."""

from __future__ import annotations

from dataclasses import dataclass

from ...runtime.decoding.eviction import RETENTION
from ...runtime.decoding.settings import BLOCK_LENGTH, GEN_LENGTH, Settings


@dataclass(frozen=True)
class Decode:
    """`context` is the length of the canvas, prompt and generation together; `batch` sequences decode at a time."""

    system: str
    context: int
    gen_length: int = GEN_LENGTH.default
    block_length: int = BLOCK_LENGTH.default
    retention: float = RETENTION.default
    batch: int = 1

    @property
    def block(self) -> int:
        """Tokens of a block; all that are generated where `block_length` is 0."""
        return self.settings().block

    def settings(self) -> Settings:
        """Return the settings that this decode has, others by default; raises `DllmEdgeError` for lengths that do not fit."""
        return Settings(gen_length=self.gen_length, block_length=self.block_length, retention=self.retention)
