"""Which mutants are tried: a share of each file's, spread over the operators, and the same ones until the file changes."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import chain
from operator import itemgetter
from pathlib import Path

from .mutant import Mutant
from .operators import mutants_of

FOLDERS = ("runtime", "graphs", "export")


def sample(root: Path, every: int, seed: int) -> list[Mutant]:
    """Return one mutant of `every` so many of each file of `FOLDERS`, at least one where there are any, at most one a line.

    Their order is drawn, so that a run that is cut short has tried some of everything.
    """
    files = sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.py"))
    chosen = [sample_of(path.relative_to(root).as_posix(), path.read_bytes(), every, seed) for path in files]
    return [mutant for _, mutant in sorted(chain(*chosen), key=itemgetter(0))]


def sample_of(file: str, source: bytes, every: int, seed: int) -> list[tuple[str, Mutant]]:
    """Return the chosen mutants of one file, each with the hash that it was drawn by.

    Each operator gives the first of its mutants, in the order of their hashes, then each its second, and so on.
    """
    found = mutants_of(file, source.decode())
    given: Counter[str] = Counter()
    turns: list[tuple[int, str, Mutant]] = []
    for draw, mutant in sorted(((drawn(mutant, source, seed), mutant) for mutant in found), key=itemgetter(0)):
        turns.append((given[mutant.operator], draw, mutant))
        given[mutant.operator] += 1
    chosen: dict[int, tuple[str, Mutant]] = {}
    for _, draw, mutant in sorted(turns, key=itemgetter(0, 1)):
        if len(chosen) * every < len(found):
            chosen.setdefault(mutant.line, (draw, mutant))
    return list(chosen.values())


def drawn(mutant: Mutant, source: bytes, seed: int) -> str:
    """Return the hash that a mutant is drawn by, of the lines that it changes: a line added above changes nothing."""
    before, after = mutant.lines(source)
    return hashlib.sha256(f"{seed} {mutant.file} {mutant.operator} {before} {after}".encode()).hexdigest()
