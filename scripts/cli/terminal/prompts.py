"""A prompt on the command line: its text, a file's, or what comes from standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ....graphs.errors import DllmEdgeError

PromptOption = Annotated[
    str, typer.Option(help="What to answer; @FILE reads a file, - standard input, @@TEXT is @TEXT.", show_default=False)
]
STANDARD_INPUT, FILE = "-", "@"
# More than any model's context, and little enough to read whole.
LARGEST = 16 << 20


def read_prompt(text: str) -> str:
    """Return the prompt that `--prompt` means; raises `DllmEdgeError` where it cannot be read, is no text, or empty.

    A line end at the very end of a file or of standard input is not part of the prompt.
    """
    if text == STANDARD_INPUT:
        closed = sys.stdin is None
        prompt = "" if closed else _decoded(sys.stdin.buffer.read(LARGEST + 1), "standard input")
    elif text.startswith(FILE * 2):
        prompt = text[1:]
    elif text.startswith(FILE):
        prompt = _read(Path(text[1:]))
    else:
        prompt = text
    if not prompt.strip():
        raise DllmEdgeError("the prompt is empty: give --prompt some text, a file as @FILE, or - for standard input")
    return prompt


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return _decoded(stream.read(LARGEST + 1), str(path))
    except OSError as error:
        raise DllmEdgeError(
            f"--prompt @{path}: cannot be read ({error.strerror}): name a file, or write @@ for a text that begins with @"
        ) from error


def _decoded(content: bytes, source: str) -> str:
    if len(content) > LARGEST:
        raise DllmEdgeError(f"{source}: a prompt of more than {LARGEST >> 20} MiB: no model reads as much, shorten it")
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise DllmEdgeError(f"{source}: byte {error.start} is no UTF-8: save the prompt as UTF-8 text") from error
