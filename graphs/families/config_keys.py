"""Reading a Hugging Face `config.json` with errors that name the key, its value and what is supported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from ..errors import DllmEdgeError, shown

LARGEST = 1e15  # of a number that is no count: beyond every rotary base, and far within float32


@dataclass(frozen=True)
class ConfigKeys:
    """Typed access to the keys of a `config.json`. A key that is null reads as one that is absent."""

    data: Mapping[str, Any]

    def unsupported(self, key: str, supported: str) -> DllmEdgeError:
        return DllmEdgeError(f"config.json: {key} is {shown(self.data.get(key))}; supported: {supported}")

    def value(self, key: str, types: tuple[type, ...], expected: str, default: Any = None) -> Any:
        value = self.data.get(key)
        if value is None:
            value = default
        if value is None:
            raise DllmEdgeError(f"config.json: {key} is missing; it must be {expected}")
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise DllmEdgeError(f"config.json: {key} is {shown(value)}; it must be {expected}")
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        return int(self.value(key, (int,), "a whole number", default))

    def positive(self, key: str, default: float | None = None) -> float:
        number = self.value(key, (int, float), "a number above 0", default)
        if not (is_finite(number) and number > 0):
            written = shown(float(number) if is_finite(number) else number)
            raise DllmEdgeError(f"config.json: {key} is {written}; it must be a number above 0 and at most {LARGEST:g}")
        return float(number)

    def flag(self, key: str) -> bool:
        return bool(self.value(key, (bool,), "true or false", False))

    def token(self, key: str) -> int | None:
        """Return a token id, or None where the key is absent, null or negative (some configs write -1 for none)."""
        token = self.integer(key, -1)
        return token if token >= 0 else None

    def tokens(self, key: str) -> tuple[int, ...]:
        """Return the token ids of a key that holds one id or a list of them; empty where it is absent or null."""
        value = self.data.get(key)
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if any(isinstance(token, bool) or not isinstance(token, int) for token in ids):
            raise DllmEdgeError(f"config.json: {key} is {shown(value)}; it must be a token id or a list of them")
        return tuple(token for token in ids if token >= 0)

    def texts(self, key: str) -> list[str]:
        """Return the texts of a key that holds a list of them; empty where it is absent or null."""
        value = self.data.get(key)
        if value is not None and not (isinstance(value, list) and all(isinstance(text, str) for text in value)):
            raise DllmEdgeError(f"config.json: {key} is {shown(value)}; it must be a list of texts")
        return value or []

    def only(self, key: str, *supported: Any) -> None:
        """Refuse a value of `key` other than `supported`; an absent key passes."""
        value = self.data.get(key)
        if value is not None and not any(_same(value, known) for known in supported):
            raise self.unsupported(key, " or ".join(json.dumps(known) for known in supported))

    def rope_theta(self) -> float:
        """Return the rotary base of `rope_parameters` (transformers 5) or `rope_theta`; refuse scaled and partial rotation."""
        theta = self.data.get("rope_theta")
        for key in ("rope_scaling", "rope_parameters"):
            rope = self.value(key, (dict,), "an object", {})
            if rope.get("rope_type", rope.get("type", "default")) != "default" or "mrope_section" in rope:
                raise self.unsupported(key, 'null or type "default"')
            if any(isinstance(value, dict) for value in rope.values()):
                raise self.unsupported(key, "one entry for all layers")
            if not _whole_head(rope):
                raise self.unsupported(key, "partial_rotary_factor 1 (rotation of the whole head)")
            theta = theta if rope.get("rope_theta") is None else rope["rope_theta"]
        if not _whole_head(self.data):
            raise self.unsupported("partial_rotary_factor", "1 (rotation of the whole head)")
        return ConfigKeys({"rope_theta": theta}).positive("rope_theta", 10_000.0)

    def mask_token(self, known: int, vocabularies: tuple[int, ...], vocabulary: int) -> int:
        """Return `mask_token_id`, or where it is absent the family's `known` one if `vocabulary` is a size that has it."""
        token = self.token("mask_token_id")
        if token is None and vocabulary in vocabularies:
            token = known
        if token is None:
            sizes = " or ".join(map(str, vocabularies))
            raise DllmEdgeError(
                f"config.json: mask_token_id is missing, and the id {known} is only known for a vocabulary of {sizes} "
                f"(here {shown(vocabulary)}): add mask_token_id to config.json"
            )
        return token

    def stop_tokens(self, known: tuple[int, ...], vocabularies: tuple[int, ...], vocabulary: int) -> tuple[int, ...]:
        """Return `eos_token_id`, its own first, and for the family's own vocabularies the `known` ends of text and turn."""
        tokens = self.tokens("eos_token_id") + (known if vocabulary in vocabularies else ())
        if not tokens:
            raise DllmEdgeError("config.json: eos_token_id is missing: add the id of the end-of-text token")
        if outside := [token for token in tokens if token >= vocabulary]:
            raise DllmEdgeError(f"config.json: eos_token_id {shown(outside[0])} lies outside the vocabulary of {vocabulary}")
        return tuple(dict.fromkeys(tokens))


def is_finite(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number, not a truth value, of a size that every float type has room for."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def _same(value: Any, known: Any) -> bool:
    """Return whether a value is the one that is known; a truth value is no number."""
    return bool(value == known) and isinstance(value, bool) == isinstance(known, bool)


def _whole_head(data: Mapping[str, Any]) -> bool:
    """Return whether rotary positions turn all of a head."""
    factor = data.get("partial_rotary_factor")
    return factor is None or _same(factor, 1)
