"""What can happen to a canvas: tokens committed, put back to the mask, or changed, and a canvas cut off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..arrays import FloatArray, IntArray


class ArrayChange:
    """A change whose fields are arrays of one length."""

    def to_json(self) -> dict[str, Any]:
        return {name: array.tolist() for name, array in vars(self).items()}


@dataclass(frozen=True, eq=False)
class Commit(ArrayChange):
    """Tokens written over masks: positions in ascending order, their ids, and the confidences they were chosen with, `[n]`."""

    positions: IntArray
    ids: IntArray
    confidences: FloatArray

    def applied_to(self, tokens: IntArray, mask_token_id: int) -> IntArray:
        tokens[self.positions] = self.ids
        return tokens


@dataclass(frozen=True, eq=False)
class Remask(ArrayChange):
    """Committed tokens that return to the mask: positions in ascending order, and the ids that stood there, `[n]`."""

    positions: IntArray
    previous_ids: IntArray

    def applied_to(self, tokens: IntArray, mask_token_id: int) -> IntArray:
        tokens[self.positions] = mask_token_id
        return tokens


@dataclass(frozen=True, eq=False)
class Edit(ArrayChange):
    """Committed tokens that become others: positions in ascending order, new ids, their confidences, the old ids, `[n]`."""

    positions: IntArray
    ids: IntArray
    confidences: FloatArray
    previous_ids: IntArray

    def applied_to(self, tokens: IntArray, mask_token_id: int) -> IntArray:
        tokens[self.positions] = self.ids
        return tokens


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
