"""Values that are kept for their next use, as long as they are used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class RecentlyUsed(Generic[Key, Value]):
    """At most `limit` values; the one that was not asked for longest goes first.

    Not `functools.lru_cache`: around a method that would hold its engine in a cycle, and with it memory of the device.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.values: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self.values)

    def get(self, key: Key) -> Value | None:
        """Return the value of `key`, which counts as a use; None where there is none."""
        if key in self.values:
            self.values.move_to_end(key)
        return self.values.get(key)

    def put(self, key: Key, value: Value) -> Value:
        """Keep a new value and return it."""
        self.values[key] = value
        if len(self.values) > self.limit:
            self.values.popitem(last=False)
        return value

    def get_or_make(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return the value of `key`, made where there is none."""
        value = self.get(key)
        return self.put(key, make()) if value is None else value
