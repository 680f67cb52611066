"""From the ids of the model that is decoded to those of a guide, whose vocabulary may be another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..arrays import IntArray


@dataclass(frozen=True, eq=False)
class TokenMap:
    """`single` `[V]` is the guide's token with the text of each id, -1 where none has just that text.

    `several` are the guide's tokens for ids whose text it writes with more than one; ids in neither have no text there.
    """

    single: IntArray
    several: Mapping[int, list[int]]

    @classmethod
    def identity(cls, size: int) -> TokenMap:
        """Return the map of two models that share their first `size` ids."""
        return cls(np.arange(size), {})

    def expanded(self, ids: Iterable[int]) -> list[int]:
        """Return the guide's tokens for the text of `ids`, without what it has none for."""
        return [token for one in ids for token in self._tokens(int(one))]

    def _tokens(self, one: int) -> list[int]:
        return [int(self.single[one])] if self.single[one] >= 0 else self.several.get(one, [])
