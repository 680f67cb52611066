"""The one exception that users of `dllm_edge` meet, and how its line shows a value."""

import json

LONGEST = 80


class DllmEdgeError(Exception):
    """A one-line statement of what is wrong, where, and what to do about it. The command line prints it and exits with 2."""


def shown(value: object) -> str:
    """Return `value` as JSON has it, in printable ASCII and cut to `LONGEST` characters; what JSON lacks by its type's name."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = f"a value of the type {type(value).__name__}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
