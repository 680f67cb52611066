from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from dllm_edge import Model, load
from dllm_edge.runtime.scheduler.request import Changed, Finished, Request
from dllm_edge.scripts.cli.terminal.canvas_view import MASK, MASKED, NEW, CanvasView


@pytest.fixture
def model(bundle: Path) -> Model:
    return load(bundle, threads=1)


def request(model: Model) -> Request:
    return model.request(model.encode("How many?"), "vanilla", steps=4, gen_length=16, block_length=8, early_stop=False)


def cells(view: CanvasView) -> list[Text]:
    texts = [panel.renderable for panel in view.panels()]
    assert all(isinstance(text, Text) for text in texts)
    return [text for text in texts if isinstance(text, Text)]


def styled(text: Text, style: str) -> int:
    return sum(span.style == style for span in text.spans)


def test_masks_give_way_to_tokens_block_by_block(model: Model) -> None:
    view = CanvasView(model, request(model))
    assert [text.plain.count(MASK) for text in cells(view)] == [8, 8]
    seen: list[tuple[int, int, int]] = []

    def watch(event: Changed | Finished) -> None:
        if isinstance(event, Changed):
            view.update(event)
            first, second = cells(view)
            assert styled(first, MASKED) == first.plain.count(MASK)
            seen.append((styled(first, MASKED), styled(second, MASKED), styled(first, NEW) + styled(second, NEW)))

    generation = model.decode([view.request], watch=watch)[0]
    assert seen == [(4, 8, 4), (0, 8, 4), (0, 4, 4), (0, 0, 4)]
    assert view.decoded == 16
    assert f"forward {generation.forwards} " in view.counters()


def test_borders_tell_blocks_apart(model: Model) -> None:
    console = Console(width=60)
    with console.capture() as capture:
        console.print(CanvasView(model, request(model)))
    assert all(title in capture.get() for title in ("block 1", "block 2", "0 of 16 cells"))
    assert "block 3" not in capture.get()


def test_line_ends_are_visible(model: Model) -> None:
    view = CanvasView(model, request(model))
    (newline,) = model.tokenizer.encode("\n")
    assert view.piece(newline) == "⏎"
