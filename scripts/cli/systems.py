"""`dllm-edge systems`: the decoding systems, their settings, defaults and sources."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from ...runtime.decoding.settings import DECLARED, Setting
from ...runtime.systems import all_systems
from ...runtime.systems.base import System
from .terminal.options import JsonOption
from .terminal.output import print_json, screen


def command(as_json: JsonOption = False) -> None:
    if as_json:
        print_json({"systems": [_data(system) for system in all_systems().values()]})
        return
    screen().print(_systems_table(), _settings_table(), sep="\n")


def _systems_table() -> Table:
    table = Table("system", "what it does", "source", box=box.SIMPLE_HEAD)
    for system in all_systems().values():
        table.add_row(system.name, system.summary, system.source)
    return table


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
    return {
        "name": system.name,
        "summary": system.summary,
        "source": system.source,
        "settings": {name: _setting(DECLARED[name], system) for name in system.setting_names},
    }


def _setting(setting: Setting, system: System) -> dict[str, Any]:
    return {
        "default": system.defaults.get(setting.name, setting.default),
        "type": setting.dtype.__name__,
        "choices": list(setting.choices),
        "meaning": setting.help,
    }
