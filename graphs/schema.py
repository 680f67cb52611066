"""What JSON may hold, said by a dataclass: every field's type, range and words are checked before any of them is used.

A field's annotation is its type; `Annotated[int, Range(1, 64)]` adds a bound, `Annotated[str, Form(...)]` a pattern.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from numbers import Integral
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import DllmEdgeError, shown

T = TypeVar("T")
SCALARS: dict[type, str] = {int: "a whole number", float: "a finite number", str: "text", bool: "true or false"}


@dataclass(frozen=True)
class Range:
    """The least and the most that a number may be."""

    least: float
    most: float = math.inf

    def check(self, value: float, where: str) -> None:
        if not self.least <= value <= self.most:
            bound = "" if self.most == math.inf else f" and at most {shown(self.most)}"
            raise _wrong(value, where, f"at least {shown(self.least)}{bound}")


@dataclass(frozen=True)
class Form:
    """A pattern that a whole text matches, and what such a text is called."""

    pattern: str
    expected: str

    def check(self, value: str, where: str) -> None:
        if not re.fullmatch(self.pattern, value):
            raise _wrong(value, where, self.expected)


def read(kind: Callable[..., T], value: object, where: str = "it") -> T:
    """Return the dataclass `kind` of a JSON object; `where` names the object in errors.

    Raises `DllmEdgeError` for a field that is missing, unknown, of another type or out of its bounds.
    """
    data: T = _read(kind, value, where)
    return data


def whole_number(value: object, where: str, least: float = 0, most: float = math.inf) -> int:
    """Return a number that a caller passes as `where`, numpy's as Python's own; raises `DllmEdgeError` for what is none."""
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value
    result: int = _read(Annotated[int, Range(least, most)], number, where)
    return result


def text(value: object, where: str) -> str:
    """Return a text that a caller passes as `where`; raises `DllmEdgeError` for anything else."""
    result: str = _read(str, value, where)
    return result


def true_or_false(value: object, where: str) -> bool:
    """Return a truth value that a caller passes as `where`; raises `DllmEdgeError` for anything else."""
    result: bool = _read(bool, value, where)
    return result


def check_fields(data: Any, where: str) -> None:
    """Raise `DllmEdgeError` unless each field of a dataclass' instance, none a dataclass, is what its annotation says."""
    for name, kind in _hints(data.__class__).items():
        _read(kind, getattr(data, name), f"{where}: {name}")


def _read(kind: Any, value: Any, where: str) -> Any:
    """Return `value` as the type `kind`; raises `DllmEdgeError`, which names it as `where`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        result = _read(arguments[0], value, where)
        for bound in arguments[1:]:
            bound.check(result, where)
        return result
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        kinds = [argument for argument in arguments if argument is not NoneType]
        return _read(next((kind for kind in kinds if type(value) is kind), kinds[0]), value, where)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise _wrong(value, where, f"one of {', '.join(arguments)}")
        return value
    if origin is dict:
        return {key: _read(arguments[1], item, f"{where}.{_part(key)}") for key, item in _as(value, where, dict).items()}
    if origin is list:
        return [_read(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(_as(value, where, list))]
    if origin is tuple:
        return _tuple(arguments, value, where)
    return _fields(kind, value, where) if is_dataclass(kind) else _scalar(kind, value, where)


def _fields(kind: Any, value: Any, where: str) -> Any:
    """Return the dataclass `kind` of a JSON object."""
    data, hints = _as(value, where, dict), _hints(kind)
    if unknown := sorted(name for name in data if name not in hints):
        raise DllmEdgeError(f"{where} has the unknown field {shown(unknown[0])}")
    needed = [field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]
    if missing := [name for name in needed if name not in data]:
        raise DllmEdgeError(f"{where} lacks {missing[0]}")
    prefix = "" if where == "it" else f"{where}."
    return kind(**{name: _read(hints[name], item, prefix + name) for name, item in data.items()})


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    """Return a JSON list as a tuple, of any length where its type says so."""
    items = list(value) if isinstance(value, tuple) else _as(value, where, list)
    if kinds[-1] is ...:
        return tuple(_read(kinds[0], item, f"{where}[{index}]") for index, item in enumerate(items))
    if len(items) != len(kinds):
        raise _wrong(value, where, f"a list of {len(kinds)}")
    return tuple(_read(kind, item, f"{where}[{index}]") for index, (kind, item) in enumerate(zip(kinds, items, strict=True)))


def _scalar(kind: Any, value: Any, where: str) -> Any:
    """Return a text, a truth value or a number; a whole number is taken for a fraction, never a truth value for a number."""
    if type(value) is kind and not (kind is float and not math.isfinite(value)):
        return value
    if kind is float and type(value) is int and abs(value) <= 1 << 53:
        return float(value)
    raise _wrong(value, where, SCALARS[kind])


def _as(value: Any, where: str, kind: type) -> Any:
    if not isinstance(value, kind):
        raise _wrong(value, where, "an object" if kind is dict else "a list")
    return value


def _part(key: object) -> str:
    return shown(key).strip('"')


def _wrong(value: object, where: str, expected: str) -> DllmEdgeError:
    return DllmEdgeError(f"{where} is {shown(value)}; it must be {expected}")


@lru_cache(maxsize=64)
def _hints(kind: Hashable) -> dict[str, Any]:
    """Return the types of a dataclass' fields by name, with their bounds."""
    return get_type_hints(kind, include_extras=True)
