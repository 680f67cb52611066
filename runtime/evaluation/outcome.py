"""What came of one problem: the text that a system gave, and what the decode cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from ...graphs.schema import Range, read
from ..generate import Generation
from ..scheduler.request import FinishReason

Count = Annotated[int, Range(0)]
Seconds = Annotated[float, Range(0.0)]


@dataclass(frozen=True)
class Outcome:
    """One problem's decode. Seconds are of the clock, a batch's shared evenly among its problems; caches are in bytes."""

    text: str
    finish_reason: FinishReason
    generated_tokens: Count
    forwards: Count
    refresh_forwards: Count
    rows_sent: Count
    seconds: Seconds
    engine_seconds: Seconds
    steady_cache_bytes: Count
    peak_cache_bytes: Count

    @classmethod
    def of(cls, generation: Generation, seconds: float) -> Outcome:
        """Return the outcome of a generation that took `seconds` of the clock."""
        return cls(
            generation.text,
            generation.finish_reason,
            len(generation.token_ids),
            generation.forwards,
            generation.refresh_forwards,
            generation.rows_sent,
            seconds,
            generation.engine_seconds,
            generation.steady_cache_bytes,
            generation.peak_cache_bytes,
        )

    @classmethod
    def from_json(cls, data: object) -> Outcome:
        """Read what `to_json` returned; raises `DllmEdgeError` for anything else."""
        return read(cls, data)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def tokens_per_forward(self) -> float:
        return self.generated_tokens / self.forwards if self.forwards else 0.0
