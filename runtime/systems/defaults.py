"""The settings that a bundle is decoded with: its own defaults, the system's, and what is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...graphs.errors import DllmEdgeError
from ..bundle.bundle import Bundle
from ..decoding.settings import Settings, with_settings
from . import find_system, fitting_systems


def settings_of(bundle: Bundle, system: str, changes: Mapping[str, Any]) -> Settings:
    """Return the bundle's defaults, the system's own, the bundle's for that system, then `changes`."""
    chosen, attention = find_system(system), bundle.config.attention
    if bundle.config.diffusion and attention not in chosen.attention:
        fitting = ", ".join(other.name for other in fitting_systems(bundle.config))
        raise DllmEdgeError(f"{system} is not for models with {attention} attention: use {fitting}")
    tuned, known = bundle.decoding, chosen.setting_names
    defaults = {**tuned.get("defaults", {}), **chosen.defaults, **tuned.get("systems", {}).get(system, {})}
    kept = {name: value for name, value in defaults.items() if name in known and name not in changes}
    return with_settings(Settings(), {**kept, **changes}, known, system)
