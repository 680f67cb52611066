"""What a decoding system is: a coroutine over one canvas, and what it needs to be told; and the registry of all of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...graphs.config import AttentionPattern, ModelConfig
from ...graphs.errors import unknown
from ...graphs.schema import text
from ..decoding.canvas import Canvas
from ..decoding.settings import BLOCK_LENGTH, EARLY_STOP, GEN_LENGTH, MAX_STEPS, STOP_AT, TEMPERATURE, Setting, Settings
from ..decoding.step import CacheOperation, Refresh, Step
from ..decoding.sweep import Sweep
from ..unmasking.proposals import CONFIDENCE
from ..unmasking.rule import RULES, UNMASK
from ..unmasking.unmasking import Unmasking

Decoding = Generator[Step | Refresh | CacheOperation, Any, None]
"""Yields forwards and cache operations; is sent an `Answer` for each; returns when nothing is left to decode."""

Decode = Callable[[Canvas, Settings, Unmasking], Decoding]
"""Begins the decoding of one canvas, whose changes go through the unmasking."""

SHARED = (GEN_LENGTH, BLOCK_LENGTH, UNMASK, CONFIDENCE, TEMPERATURE, EARLY_STOP, STOP_AT, MAX_STEPS)
"""Settings that every system with blocks and unmasking rules has, beside those of its rules."""
OF_RULES = (UNMASK, CONFIDENCE, TEMPERATURE)
"""Those of them that only rules read."""


@dataclass(frozen=True, eq=False)
class System:
    """A published way to decode. `attention` names the patterns of the models that it is for.

    `since` is the month of its paper, as `2025-05`: systems are listed in this order. `settings` are its own, beside the
    shared ones and those of its `rules` (None: every rule; none: it decides without one). `defaults` are settings that it
    begins with. `claim` is how much faster its paper reports it, and on what; `sweep` how it trades accuracy for speed (None:
    as its rule does). One that is `guided` asks for a second model.
    """

    name: str
    summary: str
    source: str
    since: str
    decode: Decode
    attention: tuple[AttentionPattern, ...]
    settings: tuple[Setting, ...] = ()
    rules: tuple[str, ...] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    claim: str = ""
    sweep: Sweep | None = None
    guided: bool = False

    @property
    def setting_names(self) -> tuple[str, ...]:
        """The names of all settings that the system reads, each once."""
        rules = RULES.values() if self.rules is None else [RULES[name] for name in self.rules]
        shared = SHARED if rules else (setting for setting in SHARED if setting not in OF_RULES)
        own = (setting for rule in rules for setting in rule.settings)
        return tuple(dict.fromkeys(setting.name for setting in (*shared, *own, *self.settings)))


SYSTEMS: dict[str, System] = {}
"""Those that decode with one model."""
GUIDED: dict[str, System] = {}
"""Those that ask for a guide beside it."""


def register(*systems: System) -> None:
    """Make systems known by their names, in the order of their papers."""
    for registry in (SYSTEMS, GUIDED):
        own = {system.name: system for system in (*registry.values(), *systems) if system.guided is (registry is GUIDED)}
        registry.clear()
        registry.update(sorted(own.items(), key=lambda item: item[1].since))


def all_systems() -> dict[str, System]:
    """Return every system by name, in the order of their papers."""
    return dict(sorted({**SYSTEMS, **GUIDED}.items(), key=lambda item: item[1].since))


def fitting_systems(config: ModelConfig) -> list[System]:
    """Return the systems that are for a model's attention, and need no guide."""
    return [system for system in SYSTEMS.values() if config.attention in system.attention]


def find_system(name: str) -> System:
    """Return the system of that name; raises `DllmEdgeError` for an unknown one, listing the known."""
    systems = all_systems()
    if text(name, "system") not in systems:
        raise unknown("system", name, systems)
    return systems[name]
