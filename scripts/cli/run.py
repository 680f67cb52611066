"""`dllm-edge run`: one prompt decoded, with the canvas filling in live in a terminal."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.live import Live

from ...runtime.generate import Generation, Model
from ...runtime.scheduler.request import Changed, Finished, Request
from ...runtime.systems import find_system
from .terminal.bundles import open_model
from .terminal.canvas_view import CanvasView
from .terminal.options import (
    BundleArgument,
    EngineOptions,
    GenLengthOption,
    GuideOption,
    JsonOption,
    SeedOption,
    SetOption,
    SystemOption,
    ThreadsOption,
    parse_settings,
)
from .terminal.output import counted, log, print_json, screen
from .terminal.prompts import PromptOption, read_prompt


def command(
    *,
    bundle: BundleArgument,
    prompt: PromptOption,
    system: SystemOption = "vanilla",
    gen_length: GenLengthOption = None,
    assignments: SetOption = None,
    seed: SeedOption = 0,
    guide: GuideOption = None,
    chat: Annotated[bool, typer.Option("--chat/--no-chat", help="Put the prompt through the bundle's chat template.")] = True,
    special_tokens: Annotated[
        bool, typer.Option("--special-tokens", help="Let the prompt contain special tokens, as one that is rendered already.")
    ] = False,
    trace: Annotated[bool, typer.Option("--trace", help="With --json: every step, what was sent and committed.")] = False,
    engine: EngineOptions,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    settings = parse_settings(assignments, gen_length)
    find_system(system)  # an unknown one is refused before the demo is exported
    prompt = read_prompt(prompt)
    model = open_model(bundle, engine, threads, guide)
    request = model.request(model.encode(prompt, chat=chat, special_tokens=special_tokens), system, seed, trace, **settings)
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
                view.finish(event)
                live.refresh()

        return model.decode([request], watch=watch)[0]


def summary(generation: Generation) -> str:
    """Return system, tokens, forwards and speed of a decode in one line."""
    tokens = len(generation.token_ids)
    refreshes = generation.refresh_forwards
    return (
        f"{generation.system}: {counted(tokens, 'token')} in {counted(generation.forwards, 'forward')} "
        f"({refreshes} refresh{'' if refreshes == 1 else 'es'}), {generation.tokens_per_forward:.2f} tokens/forward, "
        f"{generation.seconds:.2f} s, {tokens / generation.seconds:.1f} tokens/s ({generation.finish_reason})"
    )
