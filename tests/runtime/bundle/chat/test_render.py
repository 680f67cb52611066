from __future__ import annotations

from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.chat.render import render

from ....tiny import LLADA_TEMPLATE, QWEN_TEMPLATE

MESSAGES = [
    {"role": "system", "content": 'Be brief: <b> & "é".'},
    {"role": "user", "content": "the thing\n"},
    {"role": "assistant", "content": "a"},
    {"role": "user", "content": "b"},
]
FEATURES = """
{%- set state = namespace(turns=0, first='') %}
{% for message in messages %}
    {%- if message.role == 'system' %}{% continue %}{% endif %}
    {%- set state.turns = state.turns + 1 %}
    {{ loop.index }}: {{ message | tojson }} {{ {'b': 1, 'a': [1]} | tojson(indent=2) }}
    {% if state.turns == 2 %}{% break %}{% endif %}
{% endfor %}
{% generation %}{{ message_count | default(messages | length) }}{% endgeneration %}
{{ dict(a=1).a }} {% for i in range(3) %}{{ i }}{% endfor %} {{ 'now' if strftime_now_missing is not defined }}
"""


def rendered(template: str, messages: Any = MESSAGES, **tokens: str) -> str:
    return render(template, messages, tokens, characters=4096)


@pytest.mark.parametrize("template", [LLADA_TEMPLATE, QWEN_TEMPLATE, FEATURES])
def test_equals_transformers(template: str) -> None:
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    settings: dict[str, Any] = {"add_generation_prompt": True, **tokens}
    reference = render_jinja_template([MESSAGES], chat_template=template, **settings)[0][0]
    assert rendered(template, MESSAGES, **tokens) == reference
    assert "the thing" in reference


@pytest.mark.parametrize("name", ["strftime_now", "lipsum", "cycler", "joiner", "open", "__builtins__"])
def test_what_templates_do_not_need_is_not_there(name: str) -> None:
    assert rendered(f"{{{{ {name} is defined }}}}", MESSAGES) == "False"


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__base__ }}",
        "{{ '{0.__class__.__mro__}'.format('') }}",
        "{{ ('{0.__class__}' | format)('') }}",
        "{{ '{0.__class__}'.format_map({'0': ''}) }}",
        "{{ dict.__class__.__mro__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ namespace(__class__=1) }}",
        "{{ namespace({'__class__': 1}) }}",
        "{% set n = namespace() %}{% set n.__class__ = 1 %}",
        "{{ self.__init__.__globals__ }}",
        "{{ self._TemplateReference__context.environment }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
        "{{ joiner.__init__.__globals__ }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os }}",
        "{% extends '/etc/passwd' %}",
        "{{ messages.append(1) }}",
        "{% set _ = messages[0].update({'role': 'x'}) %}",
        "{{ (messages | map(attribute='__class__') | list)[0].mro() }}",
        "{{ range(10 ** 9) | list }}",
        "{{ open('/etc/passwd').read() }}",
    ],
)
def test_attacks_end_in_an_error(attack: str) -> None:
    with pytest.raises(DllmEdgeError, match="the chat template cannot be rendered") as caught:
        rendered(attack, MESSAGES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "attack",
    ["{{ ''['__class__'] }}", "{{ ''|attr('__class__') }}", "{{ raise_exception.__globals__ }}", "{{ dict.__globals__ }}"],
)
def test_attacks_that_only_ask_are_told_nothing(attack: str) -> None:
    assert rendered(attack, MESSAGES) == ""


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('roles must\nalternate') }}", "roles must alternate"),
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ messages[9].content.text }}", "UndefinedError"),
    ],
)
def test_template_errors_are_one_line(template: str, reason: str) -> None:
    with pytest.raises(DllmEdgeError, match=reason) as caught:
        rendered(template, MESSAGES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("messages", [[], ["hello"], [{"role": "user"}], [{"content": "a"}], [{"role": "user", "content": 3}]])
def test_malformed_messages(messages: Any) -> None:
    with pytest.raises(DllmEdgeError, match=r'messages must be a list of {"role": text, "content": text}'):
        rendered(QWEN_TEMPLATE, messages)


def test_messages_are_not_changed() -> None:
    before = [dict(message) for message in MESSAGES]
    rendered(LLADA_TEMPLATE, MESSAGES, bos_token="")
    assert before == MESSAGES
