"""Options that several commands share as one object: a command takes a dataclass, its users see an option for each field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints


def expand_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with each of its dataclasses replaced by the fields, in their order; the rest stays."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: group for name, group in hints.items() if is_dataclass(group)}

    def expanded(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    parameters: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        own = Parameter(name, Parameter.KEYWORD_ONLY, default=parameter.default, annotation=hints[name])
        parameters += _fields_of(groups[name]) if name in groups else [own]
    expanded.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    expanded.__name__, expanded.__doc__ = command.__name__, command.__doc__
    return expanded


def _fields_of(group: Any) -> list[Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name])
        for field in fields(group)
    ]
