"""`dllm-edge systems`: the decoding systems, their settings, defaults and sources."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields
from itertools import pairwise
from typing import Any, get_args

from rich import box
from rich.table import Table

from ...runtime.decoding import settings as settings_module
from ...runtime.decoding.settings import TYPES, Settings
from ...runtime.systems import SYSTEMS
from ...runtime.systems.base import System
from .terminal.options import JsonOption
from .terminal.output import print_json, screen


def command(as_json: JsonOption = False) -> None:
    if as_json:
        print_json({"systems": [_data(system) for system in SYSTEMS.values()]})
        return
    screen().print(_systems_table(), _settings_table(), sep="\n")


def setting_meanings() -> dict[str, str]:
    """What each field of `Settings` means: the string below it in the source."""
    module = ast.parse(inspect.getsource(settings_module))
    (body,) = (node.body for node in module.body if isinstance(node, ast.ClassDef) and node.name == Settings.__name__)
    return {
        field.target.id: str(ast.literal_eval(text.value))
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr)
    }


def _systems_table() -> Table:
    table = Table("system", "what it does", "source", box=box.SIMPLE_HEAD)
    for system in SYSTEMS.values():
        table.add_row(system.name, system.summary, system.source)
    return table


def _settings_table() -> Table:
    table = Table("--set", "default", "meaning", box=box.SIMPLE_HEAD)
    meanings = setting_meanings()
    for field in fields(Settings):
        having = [system for system in SYSTEMS.values() if field.name in system.settings]
        only = "" if len(having) == len(SYSTEMS) else f" ({', '.join(system.name for system in having)} only)"
        table.add_row(field.name, _defaults(field.name, having), meanings[field.name].replace("`", "") + only)
    return table


def _defaults(name: str, having: list[System]) -> str:
    """The default, and those of the systems that have their own."""
    common = str(getattr(Settings(), name))
    own = [f"{system.name}: {system.defaults[name]}" for system in having if name in system.defaults]
    return "\n".join([common, *own])


def _data(system: System) -> dict[str, Any]:
    meanings = setting_meanings()
    return {
        "name": system.name,
        "summary": system.summary,
        "source": system.source,
        "settings": {name: _setting(name, system, meanings[name]) for name in system.settings},
    }


def _setting(name: str, system: System, meaning: str) -> dict[str, Any]:
    choices = get_args(TYPES[name])
    kind = "str" if choices else TYPES[name].__name__
    return {
        "default": system.defaults.get(name, getattr(Settings(), name)),
        "type": kind,
        "choices": list(choices),
        "meaning": meaning,
    }
