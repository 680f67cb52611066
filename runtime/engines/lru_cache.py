"""The last few things that were made, by what they were made for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class LRUCache(OrderedDict[Key, Value]):
    """At most `limit` values; the one that was not asked for longest goes first."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def of(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of `key`, made where it is not there."""
        value = self.get(key)
        if value is None:
            value = self[key] = make()
            if len(self) > self.limit:
                self.popitem(last=False)
        else:
            self.move_to_end(key)
        return value
