"""What the table of engines says about one use of one: what is refused, and what nobody knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import get_args

from ...graphs.dtypes import DType
from ...graphs.errors import DllmEdgeError
from ...graphs.weight_formats import ALL_PLAIN, WeightFormats
from .support_table import TABLE, EngineRow, Known, Level, Version

LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True)
class Use:
    """A graph of a `flavour` that computes in a dtype, over weights in `formats`, on an engine of a version and a GPU.

    `capability` is a compute capability; None where there is no GPU, or where it is not known.
    """

    engine: str
    version: Version
    capability: Version | None
    flavour: str
    compute: DType
    formats: WeightFormats = ALL_PLAIN


@dataclass(frozen=True)
class Finding:
    """Something of a use that is not taken, or of which nobody knows; `what` names it."""

    what: str
    title: str
    known: Known

    def __str__(self) -> str:
        verb = "not taken by" if self.known.level == "refused" else "not known to work with"
        instead = f": use {self.known.instead}" if self.known.instead else ""
        return f"{self.what}: {verb} {self.title} ({self.known.why}){instead}"


def version_of(text: str) -> Version:
    """Return the first two numbers of a version, `10.16.1`, or of a compute capability, `8.7` or `sm87`."""
    if text.startswith("sm"):
        return int(text[2:-1]), int(text[-1])
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def rows_of(engine: str) -> list[EngineRow]:
    """Return the rows of an engine, the newest versions first."""
    return [row for row in TABLE if row.engine == engine]


def row_of(engine: str, version: Version) -> EngineRow:
    """Return the row that `version` is in, which is none of an engine older than all rows: `LookupError` then."""
    for row in rows_of(engine):
        if row.first <= version and (row.before is None or version < row.before):
            return row
    raise LookupError(f"{engine} {version} is in no row")


def findings(use: Use) -> list[Finding]:
    """Return what is refused of a use, then what is unknown; empty where all of it is expected at least."""
    row = row_of(use.engine, use.version)
    found = [Finding(what, row.title, known) for what, known in _questions(use, row) if known.level in ("refused", "unknown")]
    return sorted(found, key=lambda finding: -LEVELS.index(finding.known.level))


def level_of(use: Use) -> Level:
    """Return how far it is known that the use works: the least level of its parts."""
    row = row_of(use.engine, use.version)
    return max((known.level for _, known in _questions(use, row)), key=LEVELS.index)


def levels_by_engine(flavours: Iterable[str], compute: DType, formats: WeightFormats) -> dict[str, Level]:
    """Return by the title of each row how far it is known to take a bundle, by the flavour that it takes best."""
    uses = {row.title: [Use(row.engine, row.first, None, flavour, compute, formats) for flavour in flavours] for row in TABLE}
    return {title: min(map(level_of, each), key=LEVELS.index) for title, each in uses.items()}


def check_taken(use: Use) -> None:
    """Raise `DllmEdgeError` with the first part of the use that is refused."""
    for finding in findings(use):
        if finding.known.level == "refused":
            raise DllmEdgeError(str(finding))


def _questions(use: Use, row: EngineRow) -> Iterator[tuple[str, Known]]:
    """Yield each part of a use, and what is known of it."""
    older = Known("refused", "it is too old for it", "--flavour portable")
    yield f"the {use.flavour} flavour", Known(row.level) if use.flavour in row.flavours else older
    if use.capability is not None:
        yield from _of_capability(use, use.capability, row)
    for part, stored in (("linear weights", use.formats.linear), ("an LM head", use.formats.head)):
        if stored.quantised:
            yield f"{part} of {stored}", row.integers[stored.name, stored.group]


def _of_capability(use: Use, capability: Version, row: EngineRow) -> Iterator[tuple[str, Known]]:
    name = ".".join(map(str, capability))
    yield f"compute capability {name}", Known(row.level_on(capability)) if row.runs_on(capability) else row.others
    if use.compute == "bfloat16" and capability < row.bfloat16_from:
        first = ".".join(map(str, row.bfloat16_from))
        known = Known("refused", f"it has bfloat16 from {first} on", "--dtype float16, or float32 where that overflows")
        yield f"bfloat16 on compute capability {name}", known
