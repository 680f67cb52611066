"""A canvas as text: blocks with borders, masked cells as dim blocks, what was just committed highlighted."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

from rich.console import Console, ConsoleOptions, RenderResult
from rich.panel import Panel
from rich.segment import Segment
from rich.text import Text

from ....runtime.decoding.changes import Commit, Edit
from ....runtime.generate import Model
from ....runtime.scheduler.request import Changed, Finished, Request
from .output import counted
from .scrolling import shown_lines

MASK, END_OF_TEXT, LEFT = "▒▒▒", "·", "○"
NEW, MASKED, DIM = "bold black on green", "grey37", "grey50"


class CanvasView:
    """The decoded region of one request, as of its last event.

    Where it is taller than the terminal, the block that is being decoded stays in sight; the last frame is whole.
    """

    def __init__(self, model: Model, request: Request) -> None:
        self.model, self.request, self.canvas, self.block = model, request, request.canvas, request.settings.block
        self.pieces: dict[int, str] = {}
        self.forward = 0
        self.tokens = request.canvas.tokens.copy()
        self.new: set[int] = set()
        self.end: Finished | None = None

    def update(self, event: Changed) -> None:
        """Take a change; the tokens that a forward wrote stay highlighted together."""
        if event.forward != self.forward:
            self.forward, self.new = event.forward, set()
        change = event.change
        self.tokens = change.applied_to(self.tokens, self.canvas.mask_token_id)
        if isinstance(change, Commit | Edit):
            self.new |= set(change.positions.tolist())

    def finish(self, end: Finished) -> None:
        """Take the end of the decode: what is masked now stays so."""
        self.end, self.new = end, set()

    @property
    def decoded(self) -> int:
        """Count the cells that are no longer masked."""
        return int((self.tokens[self.canvas.start : self.canvas.stop] != self.canvas.mask_token_id).sum())

    @property
    def left(self) -> str:
        """What the cells are that are masked at the end."""
        return "not needed" if self.end is not None and self.end.reason == "stop" else "not decoded"

    @property
    def current(self) -> int:
        """The index of the first block with a masked cell, or of the last block."""
        masked = self.tokens[self.canvas.start : self.canvas.stop] == self.canvas.mask_token_id
        return (int(masked.argmax()) if masked.any() else max(0, masked.size - 1)) // self.block

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        panels = [console.render_lines(panel, options.update(height=None)) for panel in self.panels()]
        lines = [line for panel in panels for line in panel]
        below = [Text(self.counters(), style=DIM), self.legend()]
        if console.is_terminal and self.end is None:
            room = options.size.height - sum(len(console.render_lines(text, options)) for text in below)
            newest = next((index for index, line in enumerate(lines) if _is_new(line)), None)
            first, stop = shown_lines([len(panel) for panel in panels], self.current, newest, room)
            lines = lines[first:stop]
        for line in lines:
            yield from line
            yield Segment.line()
        yield from below

    def panels(self) -> list[Panel]:
        """Return a panel for each block; the blocks that are complete have a green border."""
        edges = [*range(self.canvas.start, self.canvas.stop, self.block), self.canvas.stop]
        return [self._panel(number, start, stop) for number, (start, stop) in enumerate(pairwise(edges), 1)]

    def counters(self) -> str:
        """Return the forwards, the cells, their ratio and the current block in one line."""
        cells = self.canvas.stop - self.canvas.start
        rate = self.decoded / self.forward if self.forward else 0.0
        left = f", {cells - self.decoded} {self.left}" if self.end and self.decoded < cells else ""
        blocks = -(-cells // self.block)
        block = f"   block {self.current + 1} of {blocks}" if self.end is None else ""
        return f"forward {self.forward}   {self.decoded} of {counted(cells, 'cell')}{left}   {rate:.1f} cells/forward{block}"

    def legend(self) -> Text:
        """Return what the marks mean that are on the canvas."""
        region = self.tokens[self.canvas.start : self.canvas.stop]
        marks = [
            (MASK, MASKED, "masked", self.end is None and self.canvas.mask_token_id in region),
            ("new", NEW, "just committed", bool(self.new)),
            (END_OF_TEXT, DIM, "end of text", bool(set(region.tolist()) & set(self.canvas.config.eos_token_ids))),
            (LEFT, DIM, self.left, self.end is not None and self.canvas.mask_token_id in region),
        ]
        text = Text()
        for mark, style, meaning, present in marks:
            if present:
                text.append("   " if text else "").append(mark, style).append(f" {meaning}", DIM)
        return text

    def _panel(self, number: int, start: int, stop: int) -> Panel:
        masked = self.tokens[start:stop] == self.canvas.mask_token_id
        style = "green" if not masked.any() else "yellow" if not masked.all() else "grey37"
        return Panel(self._cells(range(start, stop)), title=f"block {number}", title_align="left", border_style=style)

    def _cells(self, positions: Collection[int]) -> Text:
        text = Text()
        for position in positions:
            token = int(self.tokens[position])
            if token == self.canvas.mask_token_id:
                text.append(*((MASK, MASKED) if self.end is None else (LEFT, DIM))).append(" ")
            elif token in self.canvas.config.eos_token_ids:
                text.append(END_OF_TEXT, NEW if position in self.new else DIM).append(" ")
            else:
                self._append_piece(text, token, position in self.new)
        return text

    def _append_piece(self, text: Text, token: int, new: bool) -> None:
        piece = self.piece(token)
        text.append(" " * (len(piece) - len(piece.lstrip(" "))))
        text.append(piece.lstrip(" "), NEW if new else "")

    def piece(self, token: int) -> str:
        """Return the text of one token, line ends visible."""
        if token not in self.pieces:
            text = self.model.tokenizer.decode([token], skip_special_tokens=False)
            self.pieces[token] = text.replace("\n", "⏎").replace("\t", "⇥")
        return self.pieces[token]


def _is_new(line: list[Segment]) -> bool:
    """Return whether a line shows a token that was just committed, which alone has a background."""
    return any(segment.style is not None and segment.style.bgcolor is not None for segment in line)
