"""`dllm-edge run`: one prompt decoded, with the canvas filling in live in a terminal."""

from __future__ import annotations

from typing import Any

from rich.live import Live

from ...graphs.errors import DllmEdgeError
from ...runtime.generate import Generation, Model
from ...runtime.scheduler.request import Changed, Finished, Request
from .canvas_view import CanvasView
from .output import log, print_json, screen


def run_prompt(
    model: Model, prompt: str, system: str, settings: dict[str, Any], *, seed: int, chat: bool, trace: bool, as_json: bool
) -> None:
    if not prompt.strip():
        raise DllmEdgeError("the prompt is empty: give --prompt some text")
    request = model.request(model.encode(prompt, chat=chat), system, seed, trace, **settings)
    live = screen().is_terminal and not as_json
    generation = decode_live(model, request) if live else model.decode([request])[0]
    if as_json:
        print_json({"prompt": prompt, **generation.to_json()})
    else:
        print(generation.text)
        log().print(summary(generation), style="dim", highlight=False, soft_wrap=True)


def decode_live(model: Model, request: Request) -> Generation:
    """Decode while the canvas is shown; the last frame stays."""
    view = CanvasView(model, request)
    with Live(view, console=screen(), refresh_per_second=20) as live:

        def watch(event: Changed | Finished) -> None:
            if isinstance(event, Changed):
                view.update(event)
            else:
                view.new.clear()
                live.refresh()

        return model.decode([request], watch=watch)[0]


def summary(generation: Generation) -> str:
    tokens = len(generation.token_ids)
    return (
        f"{generation.system}: {tokens} tokens in {generation.forwards} forwards "
        f"({generation.refresh_forwards} refreshes), {generation.tokens_per_forward:.2f} tokens/forward, "
        f"{generation.seconds:.2f} s, {tokens / generation.seconds:.1f} tokens/s ({generation.finish_reason})"
    )
