"""Chat messages to a prompt, by the template of the bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ....graphs.errors import DllmEdgeError
from .process import PROCESS, StoppedError, TemplateProcess

REMEDY = "change the messages, or use another template or none (chat=False, --no-chat)"


def render(
    template: str,
    messages: Sequence[Mapping[str, str]],
    tokens: Mapping[str, str],
    characters: int,
    process: TemplateProcess = PROCESS,
) -> str:
    """Return the prompt of `messages`, ending where the assistant's turn begins. `tokens`: `bos_token` and `eos_token`.

    Raises `DllmEdgeError` for malformed messages, for whatever the template does wrong, for a prompt of more than
    `characters`, and where rendering takes more than the limits of `process`.
    """
    check_messages(messages)
    names = {"messages": [dict(message) for message in messages], "add_generation_prompt": True, **tokens}
    question = {"template": template, "names": names, "characters": characters, "cpu_seconds": process.limits.cpu_seconds}
    try:
        answer = json.loads(process.ask(as_line(question)))
    except StoppedError as error:
        raise DllmEdgeError(f"the chat template cannot be rendered for these messages ({error}): {REMEDY}") from error
    if "text" not in answer:
        raise DllmEdgeError(f"the chat template cannot be rendered for these messages ({answer['error']}): {REMEDY}")
    return str(answer["text"])


def check_messages(messages: Sequence[Mapping[str, str]]) -> None:
    """Raise `DllmEdgeError` unless each message has a `role` and a `content`, both of them text, and nothing but JSON."""
    if not isinstance(messages, Sequence) or not messages or not all(is_message(message) for message in messages):
        raise DllmEdgeError('messages must be a list of {"role": text, "content": text}, with at least one entry')
    as_line([dict(message) for message in messages])


def as_line(data: object) -> bytes:
    """Return what messages are part of as a line of JSON; raises `DllmEdgeError` where they hold more than JSON can."""
    try:
        return json.dumps(data).encode("ascii") + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise DllmEdgeError(f"messages must hold what JSON can: {error}") from error


def is_message(message: object) -> bool:
    """Return whether `message` has a `role` and a `content`, both of them text."""
    return isinstance(message, Mapping) and all(isinstance(message.get(field), str) for field in ("role", "content"))
