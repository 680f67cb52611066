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
    {{ loop.index }}: {{ message | tojson }} {{ {'b': 1, 'a': [1]} | tojson(indent=2, separators=(',', ': '), sort_keys=true) }}
    {% if state.turns == 2 %}{% break %}{% endif %}
{% endfor %}
{% generation %}{{ message_count | default(messages | length) }}{% endgeneration %}
{{ dict(a=1).a }} {% for i in range(3) %}{{ i }}{% endfor %} {{ 'now' if strftime_now_missing is not defined }}
"""

# As those of Qwen3: an index from behind, a namespace, slices, tests on what contents begin with, splitting and trimming.
THINKING = """
{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- set ns = namespace(searching=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and message.content is string and not
        (message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.searching = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or thought) %}
            {{- '<|im_start|>assistant\n<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
        {%- else %}
            {{- '<|im_start|>assistant\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for call in message.tool_calls %}
                {{- '\n<tool_call>\n{"name": "' }}{{ call.name }}{{ '", "arguments": ' }}{{ call.arguments | tojson }}}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
"""
CONVERSATIONS: list[list[dict[str, Any]]] = [
    MESSAGES,
    [{"role": "user", "content": ""}],
    [{"role": "user", "content": "\u00e9 \u6771\u4eac \U0001f642 \u2028 \x00 \\ \" ' {{ x }} {% if %} \r\n \t "}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "<think>\nb\n</think>\n\nc"}],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {"x": [1, 2.5, None, "é"]}}]},
        {"role": "user", "content": "<tool_response>\n1\n</tool_response>"},
    ],
]


def rendered(template: str, messages: Any = MESSAGES, **tokens: str) -> str:
    return render(template, messages, tokens, characters=4096)


@pytest.mark.parametrize("messages", CONVERSATIONS)
@pytest.mark.parametrize("template", [LLADA_TEMPLATE, QWEN_TEMPLATE, THINKING, FEATURES])
def test_equals_transformers(template: str, messages: list[dict[str, Any]]) -> None:
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    settings: dict[str, Any] = {"add_generation_prompt": True, **tokens}
    reference = render_jinja_template([messages], chat_template=template, **settings)[0][0]
    assert rendered(template, messages, **tokens) == reference
    assert messages[0]["content"].strip() in reference or template == FEATURES


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


@pytest.mark.parametrize("field", [{1}, object(), float, b"text"])
def test_messages_hold_what_json_can(field: Any) -> None:
    with pytest.raises(DllmEdgeError, match="messages must hold what JSON can: "):
        rendered(QWEN_TEMPLATE, [{"role": "user", "content": "a", "field": field}])


def test_messages_without_an_end() -> None:
    message: dict[str, Any] = {"role": "user", "content": "a"}
    deep: Any = None
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DllmEdgeError, match="messages must hold what JSON can: "):
        rendered(QWEN_TEMPLATE, [message | {"deep": deep}])
    message["self"] = message
    with pytest.raises(DllmEdgeError, match="messages must hold what JSON can: "):
        rendered(QWEN_TEMPLATE, [message])


def test_messages_are_not_changed() -> None:
    before = [dict(message) for message in MESSAGES]
    rendered(LLADA_TEMPLATE, MESSAGES, bos_token="")
    assert before == MESSAGES
