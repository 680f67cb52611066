"""Measured numbers beside their targets, and the parts of a benchmark that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from ..cli.terminal.output import verdict

MET: dict[bool | None, Text | str] = {True: verdict(True, "yes", "no"), False: verdict(False, "yes", "no"), None: ""}


@dataclass(frozen=True)
class Finding:
    """One number, as text for a table, with its target; `met` is None where there is none."""

    name: str
    value: float
    text: str
    target: str = ""
    met: bool | None = None

    @classmethod
    def at_least(cls, name: str, value: float, limit: float, unit: str = "x") -> Finding:
        return cls(name, value, f"{value:.2f}{unit}", f"at least {limit:g}{unit}", value >= limit)

    @classmethod
    def at_most(cls, name: str, value: float, limit: float, unit: str = "x") -> Finding:
        return cls(name, value, f"{value:.2f}{unit}", f"at most {limit:g}{unit}", value <= limit)


@dataclass
class Part:
    """A part of the benchmark. `data` is what its JSON holds beside the findings."""

    name: str
    title: str
    findings: list[Finding] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"title": self.title, "findings": [vars(finding) for finding in self.findings], **self.data}


def findings_table(title: str, findings: Sequence[Finding]) -> Table:
    """Return a table with a row a finding."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    for column in ("measured", "target", "met"):
        table.add_column(column, justify="right")
    for finding in findings:
        table.add_row(finding.name, finding.text, finding.target, MET[finding.met])
    return table
