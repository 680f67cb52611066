"""What can happen to a canvas: tokens committed, put back to the mask, or changed, and a canvas cut off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..arrays import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Commit:
    """Tokens written over masks: positions in ascending order, their ids, and the confidences they were chosen with, `[n]`."""

    positions: IntArray
    ids: IntArray
    confidences: FloatArray

    def applied_to(self, tokens: IntArray, mask_token_id: int) -> IntArray:
        tokens[self.positions] = self.ids
        return tokens

    def to_json(self) -> dict[str, Any]:
        return {
            "positions": self.positions.tolist(),
            "ids": self.ids.tolist(),
            "confidences": self.confidences.tolist(),
        }


@dataclass(frozen=True, eq=False)
class Remask:
    """Committed tokens that return to the mask: positions in ascending order, and the ids that stood there, `[n]`."""

    positions: IntArray
    previous_ids: IntArray

    def applied_to(self, tokens: IntArray, mask_token_id: int) -> IntArray:
        tokens[self.positions] = mask_token_id
        return tokens

    def to_json(self) -> dict[str, Any]:
        return {"positions": self.positions.tolist(), "previous_ids": self.previous_ids.tolist()}


@dataclass(frozen=True, eq=False)
class Edit:
    """Committed tokens that become others: positions in ascending order, new ids, their confidences, the old ids, `[n]`."""

    positions: IntArray
    ids: IntArray
    confidences: FloatArray
    previous_ids: IntArray

    def applied_to(self, tokens: IntArray, mask_token_id: int) -> IntArray:
        tokens[self.positions] = self.ids
        return tokens

    def to_json(self) -> dict[str, Any]:
        return {
            "positions": self.positions.tolist(),
            "ids": self.ids.tolist(),
            "confidences": self.confidences.tolist(),
            "previous_ids": self.previous_ids.tolist(),
        }


@dataclass(frozen=True)
class Truncation:
    """The canvas cut off after `length` positions."""

    length: int

    def applied_to(self, tokens: IntArray, mask_token_id: int) -> IntArray:
        kept: IntArray = tokens[: self.length].copy()
        return kept

    def to_json(self) -> dict[str, Any]:
        return {"length": self.length}


Change = Commit | Remask | Edit | Truncation
