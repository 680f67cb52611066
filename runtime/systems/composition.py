"""What composes with what: which rules a system decodes by, and why not by the others."""

from __future__ import annotations

from ...graphs.errors import DllmEdgeError
from ..decoding.settings import Settings, with_settings
from ..decoding.sweep import Sweep
from ..unmasking.rule import RULES
from .base import System


def check_rule(system: System, settings: Settings) -> None:
    """Raise `DllmEdgeError` where the system does not decode by the settings' rule."""
    if system.rules and settings.unmask not in system.rules:
        raise DllmEdgeError(
            f"{system.name} does not decode by unmask={settings.unmask}: use unmask={' or '.join(system.rules)}"
        )


def refusal(system: System, rule: str) -> str | None:
    """Return why the system, with its own defaults, does not decode by a rule: one line; None where it does."""
    if system.rules == ():
        return f"{system.name} decides without a rule"
    try:
        check_rule(system, with_settings(Settings(), {**system.defaults, "unmask": rule}, system.setting_names, system.name))
    except DllmEdgeError as error:
        return str(error)
    return None


def sweep_of(system: System, settings: Settings) -> Sweep | None:
    """Return how a decode trades accuracy for speed: the system's own way, or its rule's."""
    return system.sweep or (RULES[settings.unmask].sweep if system.rules != () else None)
