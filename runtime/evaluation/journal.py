"""The journal: outcomes by what they depend on, in a file that grows with each, so that a killed evaluation goes on."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...graphs.errors import DllmEdgeError
from ..bundle.regular_file import open_regular
from .outcome import Outcome


class Journal:
    """What was decoded before, and is decoded now; without a file in memory alone.

    A line of the file is a JSON object of a key and an outcome. Lines that are none, as the last one of a process that was
    killed while it wrote, are passed over. `conditions` are what all outcomes depend on: those of others are not found. Where
    the file cannot be written, a warning says so once, and all else is as without a file.
    """

    def __init__(self, file: Path | None = None, conditions: Mapping[str, Any] | None = None, fresh: bool = False) -> None:
        """Open the journal in `file`; with `fresh` what is there is not read, and goes when the first outcome comes."""
        self.file, self.conditions, self.fresh = file, dict(conditions or {}), fresh
        self.outcomes: dict[str, Outcome] = {}
        if file is not None:
            try:
                self._open(file)
            except OSError as error:
                self._give_up(error)

    def key(self, decode: Mapping[str, Any]) -> str:
        """Return the key of a decode under the journal's conditions, a SHA-256 in hexadecimal."""
        return hashlib.sha256(json.dumps({**self.conditions, **decode}, sort_keys=True).encode()).hexdigest()

    def keep(self, outcomes: Iterable[tuple[str, Outcome]]) -> None:
        """Add outcomes by their keys."""
        added = dict(outcomes)
        self.outcomes |= added
        if self.file is not None:
            try:
                if self.fresh:
                    self.file.unlink(missing_ok=True)
                    self.fresh = False
                _append(self.file, "".join(_line(key, outcome) for key, outcome in added.items()))
            except OSError as error:
                self._give_up(error)

    def _open(self, file: Path) -> None:
        """Read what is there, and see that more can be written, on a line of its own."""
        content = b""
        with suppress(FileNotFoundError), open_regular(file) as stream:
            content = stream.readall()
        if not self.fresh:
            self.outcomes.update(_outcomes(content))
        file.parent.mkdir(exist_ok=True)
        _append(file, "" if content[-1:] in (b"", b"\n") else "\n")

    def _give_up(self, error: OSError) -> None:
        file, self.file = self.file, None
        warnings.warn(
            f"{file}: cannot be written ({error.strerror}): if this is ended, the next one cannot resume it", stacklevel=3
        )


def _append(file: Path, text: str) -> None:
    """Write `text` to the end of a file, in one piece where the disk has room for it; raises `OSError`."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    with os.fdopen(descriptor, "wb", buffering=0) as stream:
        content = text.encode()
        while content:
            # A full disk takes a part without a word, and refuses the rest.
            content = content[stream.write(content) :]


def _line(key: str, outcome: Outcome) -> str:
    return json.dumps({"key": key, "outcome": outcome.to_json()}) + "\n"


def _outcomes(content: bytes) -> Iterator[tuple[str, Outcome]]:
    for line in content.splitlines():
        with suppress(ValueError, KeyError, TypeError, RecursionError, DllmEdgeError):
            data = json.loads(line)
            yield str(data["key"]), Outcome.from_json(data["outcome"])
