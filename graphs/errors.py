"""The one exception that users of `dllm_edge` meet, and how its line shows names and values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from difflib import get_close_matches

# Three letters of four: int3 is not taken for a misspelt int8.
ALIKE = 0.76
LONGEST = 80


class DllmEdgeError(Exception):
    """A one-line statement of what is wrong, where, and what to do about it. The command line prints it and exits with 2.

    Line ends that come with what users wrote become spaces.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


def unknown(noun: str, name: object, choices: Iterable[object], advice: str = "") -> DllmEdgeError:
    """Return the error that `name` is none of the `choices`: that which is spelled alike, all of them, and `advice`."""
    words = [str(choice) for choice in choices]
    return DllmEdgeError(
        f"unknown {noun} '{name!s:.{LONGEST}}':{did_you_mean(name, words)} choose one of {', '.join(words)}{advice}"
    )


def did_you_mean(name: object, words: Iterable[str]) -> str:
    """Return the question whether the one of `words` was meant that is spelled most like `name`; empty where none is."""
    known = {word.lower(): word for word in words}
    near = get_close_matches(str(name).lower(), known, 1, ALIKE)
    return f" did you mean '{known[near[0]]}'?" if near else ""


def shown(value: object) -> str:
    """Return `value` as JSON has it, in printable ASCII and cut to `LONGEST` characters; what JSON lacks by its type's name."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = f"a value of the type {type(value).__name__}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
