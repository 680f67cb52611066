"""Lists on the command line: names or numbers separated by commas."""

from __future__ import annotations

from collections.abc import Collection

from ....graphs.errors import DllmEdgeError, unknown

# More positions than any model has.
MOST = 10**7


def parse_names(text: str, noun: str, known: Collection[str]) -> list[str]:
    """Return the names in the text of the option that is `noun`'s plural, each once; all of them must be `known`."""
    names = words_of(text)
    for name in names:
        if name not in known:
            raise unknown(noun, name, known)
    if not names:
        choices = ", ".join(known)
        raise DllmEdgeError(f"--{noun}s '{text}' names no {noun}: give one or more of {choices}, separated by commas")
    return names


def parse_numbers(text: str, option: str, least: int, most: int = MOST) -> tuple[int, ...]:
    """Return the whole numbers from `least` to `most` in an option's text, each once; there must be one or more."""
    words = words_of(text)
    if not words or not all(_is_within(word, least, most) for word in words):
        raise DllmEdgeError(f"{option} {text}: must be numbers from {least} to {most}, separated by commas, as in 512,2048")
    return tuple(dict.fromkeys(map(int, words)))


def words_of(text: str) -> list[str]:
    """Return what a text has between its commas, each once, without the blanks around it."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _is_within(word: str, least: int, most: int) -> bool:
    return word.isdecimal() and len(word) <= len(str(most)) and least <= int(word) <= most
