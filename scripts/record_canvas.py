"""The README's picture: a decode of the demo model, one frame a forward (`python -m dllm_edge.scripts.record_canvas`)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from ..demo.task import held_out
from ..graphs.whole_file import write_whole
from ..runtime.scheduler.request import Changed, Finished
from .cli.terminal.bundles import DEMO, open_model
from .cli.terminal.canvas_view import CanvasView
from .cli.terminal.launch import launch_command
from .cli.terminal.options import EngineOptions
from .cli.terminal.output import plain_console

SYSTEM = "fast-dllm-dual"
# A quota shows more of the way than a threshold, by which the model is done in two or three forwards.
SETTINGS: dict[str, Any] = {"gen_length": 64, "unmask": "quota", "steps": 12}
# The fifth question has three operations.
QUESTIONS = 5
WIDTH = 96


def record(output: Path) -> None:
    """Decode and write the frames to an SVG file."""
    model = open_model(DEMO, EngineOptions(device="cpu"))
    prompt = held_out(QUESTIONS)[-1].question
    request = model.request(model.encode(prompt), SYSTEM, **SETTINGS)
    console = plain_console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    chosen = " ".join(f"--set {name}={value}" for name, value in SETTINGS.items())
    console.print(f'$ dllm-edge run demo --prompt "{prompt}" --system {SYSTEM} {chosen}', highlight=False)
    view = CanvasView(model, request)

    def watch(event: Changed | Finished) -> None:
        if isinstance(event, Changed):
            view.update(event)
            console.print(view.panels()[0], Text(view.counters(), style="dim"))

    generation = model.decode([request], watch=watch)[0]
    console.print(generation.text, highlight=False)
    write_whole(output, console.export_svg(title="dllm-edge run"))


def main(output: Annotated[Path, typer.Argument(help="The SVG file to write.")] = Path("docs/canvas.svg")) -> None:
    record(output)


if __name__ == "__main__":
    launch_command(main)
