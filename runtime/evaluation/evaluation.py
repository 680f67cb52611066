"""What an evaluation found: accuracy, speed and memory of one system on a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..decoding.settings import Settings
from ..systems import find_system
from .intervals import wilson
from .outcome import Outcome


@dataclass(frozen=True)
class Evaluation:
    """A system on a task. `correct` and `outcomes` are in the order of the task's problems; seconds are of the clock."""

    task: str
    system: str
    settings: Settings
    correct: list[bool]
    outcomes: list[Outcome]
    batch: int = 1

    @property
    def samples(self) -> int:
        return len(self.correct)

    @property
    def accuracy(self) -> float:
        return sum(self.correct) / self.samples

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the accuracy."""
        return wilson(sum(self.correct), self.samples)

    @property
    def generated_tokens(self) -> int:
        return sum(outcome.generated_tokens for outcome in self.outcomes)

    @property
    def forwards(self) -> int:
        return sum(outcome.forwards for outcome in self.outcomes)

    @property
    def refresh_forwards(self) -> int:
        return sum(outcome.refresh_forwards for outcome in self.outcomes)

    @property
    def rows_sent(self) -> int:
        """Rows of all forwards, without padding: what a CPU computes, and pays for."""
        return sum(outcome.rows_sent for outcome in self.outcomes)

    @property
    def seconds(self) -> float:
        return sum(outcome.seconds for outcome in self.outcomes)

    @property
    def tokens_per_forward(self) -> float:
        return self.generated_tokens / max(1, self.forwards)

    @property
    def tokens_per_second(self) -> float:
        return self.generated_tokens / self.seconds

    @property
    def engine_seconds(self) -> float:
        return sum(outcome.engine_seconds for outcome in self.outcomes)

    @property
    def host_seconds(self) -> float:
        return self.seconds - self.engine_seconds

    @property
    def peak_cache_bytes(self) -> int:
        return max(outcome.peak_cache_bytes for outcome in self.outcomes)

    @property
    def steady_cache_bytes(self) -> int:
        return max(outcome.steady_cache_bytes for outcome in self.outcomes)

    def to_json(self) -> dict[str, Any]:
        low, high = self.interval
        return {
            "system": self.system,
            "settings": self.settings.values_of(find_system(self.system).setting_names),
            "task": self.task,
            "samples": self.samples,
            "batch": self.batch,
            "accuracy": self.accuracy,
            "accuracy_low": low,
            "accuracy_high": high,
            "generated_tokens": self.generated_tokens,
            "forwards": self.forwards,
            "refresh_forwards": self.refresh_forwards,
            "rows_sent": self.rows_sent,
            "tokens_per_forward": self.tokens_per_forward,
            "seconds": self.seconds,
            "tokens_per_second": self.tokens_per_second,
            "engine_seconds": self.engine_seconds,
            "host_seconds": self.host_seconds,
            "peak_cache_bytes": self.peak_cache_bytes,
            "steady_cache_bytes": self.steady_cache_bytes,
        }
