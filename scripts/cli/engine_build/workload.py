"""From what will be decoded with an engine to the sizes that it is built for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ....graphs.errors import DllmEdgeError
from ....runtime.bundle.bundle import Bundle
from ....runtime.engines.profiles import Workload
from ....runtime.scheduler.rehearsal import derive_workload
from ....runtime.systems import find_system
from ....runtime.systems.defaults import settings_of
from ..terminal.options import parse_contexts


@dataclass(frozen=True)
class Decodes:
    """What an engine is to serve: systems and their settings (text), `--context` as it is written, texts at a time."""

    systems: tuple[str, ...]
    settings: dict[str, Any]
    context: str | None
    batch: int


def workload_of(bundle: Bundle, decodes: Decodes) -> Workload:
    """Return the sizes of everything that these decodes ask of an engine."""
    uses = []
    for name in decodes.systems:
        system = find_system(name)
        fitting = {setting: value for setting, value in decodes.settings.items() if setting in system.setting_names}
        uses.append((system, settings_of(bundle, name, fitting)))
    unknown = decodes.settings.keys() - {setting for system, _ in uses for setting in system.setting_names}
    if unknown:
        raise DllmEdgeError(
            f"none of {', '.join(decodes.systems)} has a setting '{min(unknown)}'; 'dllm-edge systems' lists them"
        )
    contexts = parse_contexts(decodes.context, bundle.config.max_positions)
    return derive_workload(bundle.config, uses, contexts, decodes.batch)
