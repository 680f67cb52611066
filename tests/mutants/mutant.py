"""A mutant: a file of the package with one small defect."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`file` with its bytes `start` to `stop` replaced; `line`, from 1, is where they begin."""

    file: str
    line: int
    operator: str
    start: int
    stop: int
    replacement: str

    def applied(self, source: bytes) -> bytes:
        """Return the file's content with the defect."""
        return source[: self.start] + self.replacement.encode() + source[self.stop :]

    def lines(self, source: bytes) -> tuple[str, str]:
        """Return the lines that change, without indentation: as they are, and with the defect."""
        first = source.rfind(b"\n", 0, self.start) + 1
        end = source.find(b"\n", self.stop)
        last = len(source) if end < 0 else end
        changed = source[first : self.start] + self.replacement.encode() + source[self.stop : last]
        return " ".join(source[first:last].decode().split()), " ".join(changed.decode().split())

    def key(self, source: bytes) -> str:
        """Return what the mutant is known by: the file's name and its content with the defect."""
        return hashlib.sha256(self.file.encode() + b"\0" + self.applied(source)).hexdigest()
