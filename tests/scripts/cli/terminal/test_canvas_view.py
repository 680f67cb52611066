from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text

from dllm_edge import Model, load
from dllm_edge.runtime.decoding.changes import Commit
from dllm_edge.runtime.scheduler.request import Changed, Finished, Request
from dllm_edge.scripts.cli.terminal.canvas_view import LEFT, MASK, MASKED, NEW, CanvasView


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


def shown(view: CanvasView, height: int, width: int = 80) -> list[str]:
    console = Console(width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(view)
    return capture.get().splitlines()


def test_the_current_block_and_the_status_stay_in_sight(model: Model) -> None:
    asked = model.request(model.encode("How many?"), "vanilla", gen_length=64, block_length=8, early_stop=False)
    view = CanvasView(model, asked)
    seen: set[str] = set()

    def watch(event: Changed | Finished) -> None:
        if isinstance(event, Changed):
            view.update(event)
            lines = shown(view, 10)
            assert len(lines) <= 10
            assert any(f"block {view.current + 1} " in line for line in lines[:-2])
            assert f"block {view.current + 1} of 8" in lines[-2]
            seen.add(lines[-2].rpartition("   ")[2])
        else:
            view.finish(event)

    model.decode([view.request], watch=watch)
    assert seen == {f"block {number} of 8" for number in range(1, 9)}
    last = shown(view, 10)
    assert all(any(f"block {number} " in line for line in last) for number in range(1, 9)), "the last frame is whole"


def test_what_early_stop_left_is_not_needed(model: Model) -> None:
    view = CanvasView(model, request(model))
    end = model.config.eos_token_ids[0]
    positions = np.arange(view.canvas.start, view.canvas.start + 8)
    view.update(Changed(view.request, 1, Commit(positions, np.full(8, end), np.ones(8, np.float32))))
    assert "masked" in view.legend().plain
    assert "just committed" in view.legend().plain
    view.finish(Finished(view.request, "stop", 1, 0, 40, 0.0, 0.0, []))
    assert [text.plain.count(MASK) for text in cells(view)] == [0, 0]
    assert cells(view)[1].plain.count(LEFT) == 8
    assert "8 of 16 cells, 8 not needed" in view.counters()
    assert view.legend().plain == "· end of text   ○ not needed"


def test_what_a_cancelled_decode_left_is_not_decoded(model: Model) -> None:
    view = CanvasView(model, request(model))
    view.finish(Finished(view.request, "cancelled", 0, 0, 0, 0.0, 0.0, []))
    assert "0 of 16 cells, 16 not decoded" in view.counters()
    assert view.legend().plain == "○ not decoded"
