"""Chat templates of any content: they render in bounded time and size, or are refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.chat.render import render

from ..tiny import LLADA_TEMPLATE
from .budget import examples
from .damage import damaged_bytes
from .running import no_hang

TOKENS, CHARACTERS = {"bos_token": "<s>", "eos_token": "</s>"}, 1_000_000
LARGE = ["9**9**9", "'x' * 10**10", "[0] * 10**9", "range(10**9)|list", "range(10**6)|join", "'x'|indent(10**8)", "2**10**7"]
VALUES = [
    *LARGE,
    "messages",
    "bos_token",
    "cycler",
    "joiner(',')",
    "namespace(a=1)",
    "messages[0]",
    "None",
    "1/0",
    "missing.x",
    "-1",
]
FILTERS = [
    "tojson(indent=99999999)",
    "length",
    "center(10**9)",
    "trim",
    "join('x'*9999)",
    "batch(3)|list",
    "string",
    "int",
    "first",
]
STATEMENTS = [
    "{{% for a in {0} %}}{1}{{% endfor %}}",
    "{{% for a in range(99999) %}}{{% for b in range(99999) %}}{1}{{% endfor %}}{{% endfor %}}",
    "{{% if {0} %}}{1}{{% endif %}}",
    "{{% set a = {0} %}}{1}",
    "{{% macro m() %}}{1}{{{{ m() }}}}{{% endmacro %}}{{{{ m() }}}}",
    "{{{{ ({0})|tojson(indent=4) }}}}{1}",
    "{{{{ raise_exception({0}) }}}}{1}",
    "{{{{ ({0}).__class__.__mro__ }}}}{1}",
]

expressions = st.builds("({})|{}".format, st.sampled_from(VALUES), st.sampled_from(FILTERS)) | st.sampled_from(VALUES)
outputs = st.builds("{{{{ {} }}}}".format, expressions)
templates = st.recursive(
    outputs | st.just("text"),
    lambda inner: st.builds(str.format, st.sampled_from(STATEMENTS), expressions, inner) | st.builds(str.__add__, inner, inner),
    max_leaves=4,
)


def renders(template: str) -> None:
    with no_hang():
        try:
            text = render(template, [{"role": "user", "content": "How many?"}], TOKENS, CHARACTERS)
        except DllmEdgeError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert isinstance(text, str)
            assert len(text) <= CHARACTERS


@given(templates)
@examples(40)
def test_templates(template: str) -> None:
    renders(template)


@given(damaged_bytes(LLADA_TEMPLATE.encode()))
@examples(40)
def test_damaged_templates(template: bytes) -> None:
    renders(template.decode(errors="replace"))
