"""`dllm-edge systems`: the decoding systems and rules, what composes with what, settings, defaults and sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from ...runtime.decoding.settings import DECLARED, Setting
from ...runtime.systems import all_systems
from ...runtime.systems.base import System
from ...runtime.systems.composition import refusal
from ...runtime.unmasking import RULES
from .terminal.options import JsonOption
from .terminal.output import print_json, screen


def command(as_json: JsonOption = False) -> None:
    if as_json:
        print_json({"systems": [_data(system) for system in all_systems().values()]})
        return
    screen().print(_systems_table(), _rules_table(), _compositions_table(), _settings_table(), sep="\n")


def _systems_table() -> Table:
    table = Table("system", "what it does", "source", "its paper's speed", box=box.SIMPLE_HEAD)
    for system in all_systems().values():
        table.add_row(system.name, system.summary, system.source, system.claim)
    return table


def _rules_table() -> Table:
    table = Table("--set unmask=", "what a step commits", "a bench varies", box=box.SIMPLE_HEAD)
    for rule in RULES.values():
        table.add_row(rule.name, rule.summary.replace("`", ""), str(rule.sweep or ""))
    return table


def _compositions_table() -> Table:
    """Return which system decodes which models and by which rules, and why not by others."""
    table = Table("system", "for models with", "decodes by unmask=", box=box.SIMPLE_HEAD)
    table.columns[0].no_wrap = True
    for system in all_systems().values():
        refused = {rule: why for rule in RULES if (why := refusal(system, rule))}
        taken = ", ".join(rule for rule in RULES if rule not in refused)
        lines = [taken if refused else "every rule", *_reasons(refused)]
        table.add_row(system.name, f"{' or '.join(system.attention)} attention", "\n".join(lines))
    return table


def _reasons(refused: Mapping[str, str]) -> list[str]:
    """Return why rules are refused, once for all that are for the same reason; each is given by the rule's name."""
    rules_by_reason: dict[str, list[str]] = {}
    for rule, why in refused.items():
        rules_by_reason.setdefault(why.replace(f"unmask={rule}", "unmask=..."), []).append(rule)
    return [f"not {', '.join(rules)}: {why}" for why, rules in rules_by_reason.items()]


def _settings_table() -> Table:
    table = Table("--set", "default", "meaning", box=box.SIMPLE_HEAD)
    for setting in DECLARED.values():
        having = [system for system in all_systems().values() if setting.name in system.setting_names]
        only = "" if len(having) == len(all_systems()) else f" ({', '.join(system.name for system in having)} only)"
        table.add_row(setting.name, _defaults(setting, having), setting.help.replace("`", "") + only)
    return table


def _defaults(setting: Setting, having: list[System]) -> str:
    """Return the default, and those of the systems that have their own."""
    own = [f"{system.name}: {system.defaults[setting.name]}" for system in having if setting.name in system.defaults]
    return "\n".join([str(setting.default), *own])


def _data(system: System) -> dict[str, Any]:
    """Return a system as JSON; of `rules` each is null, or why the system does not decode by it."""
    return {
        "name": system.name,
        "summary": system.summary,
        "source": system.source,
        "claim": system.claim,
        "attention": list(system.attention),
        "rules": {rule: refusal(system, rule) for rule in RULES},
        "settings": {name: _setting(DECLARED[name], system) for name in system.setting_names},
    }


def _setting(setting: Setting, system: System) -> dict[str, Any]:
    return {
        "default": system.defaults.get(setting.name, setting.default),
        "type": setting.dtype.__name__,
        "choices": list(setting.choices),
        "meaning": setting.help,
    }
