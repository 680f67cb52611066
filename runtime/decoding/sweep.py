"""How a rule or a system trades accuracy for speed: the one setting that it varies for that, from careful to bold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .settings import Setting, Settings


def _itself(value: Any, _settings: Settings) -> Any:
    return value


@dataclass(frozen=True)
class Sweep:
    """`values` of one `setting`, from careful to bold.

    Where they are not the setting's own, `meaning` gives its value for one of them in a decode, and `unit` says what they are.
    """

    setting: Setting
    values: tuple[Any, ...]
    meaning: Callable[[Any, Settings], Any] = _itself
    unit: str = ""

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.setting.name}: {', '.join(map(str, self.values))}{unit}"

    def changes(self, settings: Settings) -> list[dict[str, Any]]:
        """Return what to change of `settings` for each of the values, in their order."""
        return [{self.setting.name: self.meaning(value, settings)} for value in self.values]


def steps_for(tokens: int, settings: Settings) -> int:
    """Return the `steps` by which a step commits `tokens` of a block; 0, the setting's own word for one, for 1."""
    longest = min(settings.block, int(settings.gen_length))
    return 0 if tokens == 1 else settings.block_count * -(-longest // tokens)
