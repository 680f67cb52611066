"""What commands print: one JSON object or tables on stdout, anything beside them on stderr.

Every console of the command line is made here. None of them reads markup (`[red]`) or emoji (`:smile:`): paths and texts out of
files come as they are, and what has a style is a `Text`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def plain_console(**options: Any) -> Console:
    """Return a console that prints a text as it is; `options` are Rich's."""
    return Console(markup=False, emoji=False, **options)


def screen() -> Console:
    """Return stdout, made anew for whoever has replaced it."""
    return plain_console()


def log() -> Console:
    """Return stderr, made anew for whoever has replaced it."""
    return plain_console(stderr=True)


def verdict(good: bool, yes: str, no: str) -> Text:
    """Return one of two words, in green or in red."""
    return Text(yes, style="green") if good else Text(no, style="red")


def print_json(data: Mapping[str, Any]) -> None:
    """Print one object; values that JSON lacks (NaN, infinity) are an error rather than another dialect."""
    print(json.dumps(data, indent=1, allow_nan=False))


def key_values(rows: Mapping[str, object]) -> Table:
    """Return a table of two columns without lines."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, str(value))
    return table


def counted(count: int, noun: str) -> str:
    """Return a number and its noun, in the plural where it is not one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def size(count: int) -> str:
    """Return a number of bytes as people write it."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} bytes"
