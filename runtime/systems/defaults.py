"""The settings that a bundle is decoded with: its own defaults, the system's, and what is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from ...graphs.errors import DllmEdgeError
from ..bundle.bundle import Bundle
from ..bundle.manifest import DECODING, damaged
from ..decoding.settings import Settings, parse_setting, with_settings
from ..unmasking.rule import RULES, UNMASK
from . import find_system, fitting_systems
from .base import SHARED, System


def settings_of(bundle: Bundle, system: str, changes: Mapping[str, Any]) -> Settings:
    """Return the bundle's defaults, the system's own, the bundle's for that system, then `changes`."""
    chosen, attention = find_system(system), bundle.config.attention
    if bundle.config.diffusion and attention not in chosen.attention:
        fitting = ", ".join(other.name for other in fitting_systems(bundle.config))
        raise DllmEdgeError(f"{system} is not for models with {attention} attention: use {fitting}")
    tuned, known = bundle_defaults(bundle), chosen.setting_names
    defaults = {**tuned.get("defaults", {}), **chosen.defaults, **tuned.get("systems", {}).get(system, {})}
    kept = {name: value for name, value in defaults.items() if name in known and name not in changes}
    settings = with_settings(Settings(), {**kept, **changes}, known, system)
    if chosen.rules is not None and settings.unmask not in chosen.rules:
        raise DllmEdgeError(f"{system} does not decode by unmask={settings.unmask}: use unmask={' or '.join(chosen.rules)}")
    for name in changes:
        _warn_if_unread(name, settings, chosen)
    return settings


def _warn_if_unread(name: str, settings: Settings, system: System) -> None:
    """Warn where a setting is read by rules alone, and not by the one that is in use.

    The rule of its name is named first, or the default one.
    """
    readers = [rule.name for rule in RULES.values() if name in (setting.name for setting in rule.settings)]
    readers.sort(key=lambda reader: (reader != name, reader != UNMASK.default))
    shared = name in (setting.name for setting in (*SHARED, *system.settings))
    if readers and not shared and settings.unmask not in readers:
        read_by = f"{', '.join(readers[:-1])} and {readers[-1]} read" if readers[1:] else f"{readers[0]} reads"
        warnings.warn(
            f"{name} is not read: {read_by} it, this decode has "
            f"unmask={settings.unmask}: set unmask={readers[0]} with it, or leave {name} out",
            stacklevel=3,
        )


def bundle_defaults(bundle: Bundle) -> dict[str, Any]:
    """Return `decoding.json`; raises `DllmEdgeError` where it names what there is not, or has a value that may not be."""
    tuned = bundle.decoding
    try:
        check_defaults(tuned)
    except DllmEdgeError as error:
        raise damaged(bundle.path / DECODING, str(error)) from error
    return tuned


def check_defaults(tuned: Mapping[str, Any]) -> None:
    """Raise `DllmEdgeError` unless the settings of a `decoding.json`, and the systems that it has settings for, are known."""
    for name, value in tuned.get("defaults", {}).items():
        parse_setting(name, value)
    for system, settings in tuned.get("systems", {}).items():
        with_settings(Settings(), settings, find_system(system).setting_names, system)
