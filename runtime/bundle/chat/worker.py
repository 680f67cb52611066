"""The process that renders templates: it answers a line of JSON with a line of JSON, within limits that the system holds.

It is started without the package (`process.py`), so it imports Jinja, its own folder and the standard library alone.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

from .limits import OUT_OF_MEMORY
from .sandbox import compiled

REASON_CHARACTERS = 300


def serve(memory_bytes: int) -> None:
    """Answer each line of stdin on stdout until stdin ends."""
    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_AS, memory_bytes)
    for line in sys.stdin.buffer:
        try:
            answer = json.dumps(answer_to(json.loads(line)))
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def answer_to(question: dict[str, Any]) -> dict[str, str]:
    """Return the `text` of a question's template and messages, or the `error` that it ends in."""
    allow_seconds(question["cpu_seconds"])
    try:
        return {"text": rendered(question["template"], question["names"], question["characters"])}
    except MemoryError:
        raise
    except Exception as error:  # a template can fail in every way that an expression can
        return {"error": one_line(f"{type(error).__name__}: {error}")}


def rendered(template: str, names: dict[str, Any], characters: int) -> str:
    """Return the text of `template` with `names` defined; raises ValueError where it is longer than `characters`."""
    parts, size = [], 0
    for part in compiled(template).generate(names):
        parts.append(part)
        size += len(part)
        if size > characters:
            raise ValueError(f"it gives more than {characters:,} characters")
    return "".join(parts)


def allow_seconds(seconds: int) -> None:
    """Have the system end this process once it has computed for `seconds` more, up to a second later."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    lower(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + seconds)


def lower(kind: int, value: int) -> None:
    """Set a limit of this process, or the one that it may set at most where that is lower."""
    highest = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if highest == resource.RLIM_INFINITY else min(value, highest), highest))


def one_line(text: str) -> str:
    """Return the beginning of `text` in one line that does nothing to a terminal."""
    shown = " ".join(text[:REASON_CHARACTERS].split())
    return "".join(character if character.isprintable() else "?" for character in shown)
