"""What a chat template may do: it comes with a checkpoint, and must not be able to do more than text."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace


class GenerationTag(Extension):
    """`{% generation %}` marks an assistant's turn for training; here its content is simply kept."""

    tags = {"generation"}  # noqa: RUF012 - the type of the base class

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class PlainNamespace(Namespace):
    """A `namespace()` without underscored names, through which objects of Python could be reached."""

    def __init__(*args: Any, **fields: Any) -> None:
        self, *mappings = args
        values = dict(*mappings, **fields)
        for name in values:
            refuse_underscore(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        refuse_underscore(name)
        super().__setitem__(name, value)


def refuse_underscore(name: object) -> None:
    """Raise `SecurityError` for a name that begins with an underscore."""
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace has no {name!r}")


def raise_exception(message: object) -> None:
    """Let a template refuse messages, as those of transformers may."""
    raise TemplateError(str(message))


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON as models saw it in training; Jinja's own filter escapes it for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def make_dict(*args: Any, **fields: Any) -> dict[Any, Any]:
    """Return what `dict(...)` in a template makes."""
    return dict(*args, **fields)


def environment() -> ImmutableSandboxedEnvironment:
    """Return what renders as transformers does, except that `strftime_now` is absent: the same prompt every day."""
    sandbox = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols])
    allowed = {"range": sandbox.globals["range"]}
    sandbox.globals.clear()
    sandbox.globals.update(allowed, dict=make_dict, namespace=PlainNamespace, raise_exception=raise_exception)
    sandbox.filters["tojson"] = tojson
    return sandbox


@lru_cache(maxsize=8)
def compiled(template: str) -> Template:
    """Return the template compiled; raises `TemplateError` where its syntax is wrong."""
    return environment().from_string(template)
