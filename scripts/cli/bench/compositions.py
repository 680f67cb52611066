"""What a bench compares: systems, each with settings of its own, as `streaming-dllm:retention=0.5:unmask=factor`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ....graphs.config import ModelConfig
from ....graphs.errors import DllmEdgeError
from ....runtime.decoding.settings import check_names, parse_setting
from ....runtime.systems import GUIDED, all_systems, find_system, fitting_systems
from ..terminal.lists import words_of

EXAMPLE = "streaming-dllm:retention=0.5:unmask=factor"
COMBINED = (
    "vanilla:unmask=threshold",
    "fast-dllm-dual:unmask=factor",
    "fast-dllm-dual:unmask=frechet",
    "sparse-dllm:unmask=threshold",
    "streaming-dllm:retention=0.5",
)
"""Compositions that a bench has beside each system by its own defaults."""


@dataclass(frozen=True)
class Composition:
    """A system, and the settings that are not its own defaults."""

    system: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What `parse_composition` reads."""
        return ":".join([self.system, *(f"{name}={value}" for name, value in self.settings.items())])


def parse_compositions(text: str) -> list[Composition]:
    """Return the compositions in the text of `--systems`, each once; raises `DllmEdgeError` for what is none."""
    found = [parse_composition(word) for word in words_of(text)]
    if not found:
        raise DllmEdgeError(
            f"--systems '{text}' names no system: give one or more of {', '.join(all_systems())}, separated by commas"
        )
    return list({composition.label: composition for composition in found}.values())


def parse_composition(text: str) -> Composition:
    """Return a composition of a known system, whose settings it has and whose values they may take."""
    name, *assignments = (part.strip() for part in text.split(":"))
    system = find_system(name)
    settings: dict[str, Any] = {}
    for assignment in assignments:
        key, _, value = (part.strip() for part in assignment.partition("="))
        if not (key and value):
            raise DllmEdgeError(f"--systems {text}: '{assignment}' must be key=value, as in --systems {EXAMPLE}")
        check_names([key], system.setting_names, name)
        settings[key] = parse_setting(key, value)
    return Composition(name, settings)


def default_compositions(config: ModelConfig, guided: bool = False) -> list[Composition]:
    """Return each system that fits a model by its own defaults, those for a guide where there is one, and combinations."""
    systems = [system.name for system in fitting_systems(config)]
    systems += [system.name for system in GUIDED.values() if guided and config.attention in system.attention]
    combined = [composition for text in COMBINED if (composition := parse_composition(text)).system in systems]
    return [*(Composition(system) for system in systems), *combined]
