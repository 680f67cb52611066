"""A canvas as text: blocks with borders, masked cells as dim blocks, what was just committed highlighted."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from ....runtime.decoding.changes import Commit, Edit
from ....runtime.generate import Model
from ....runtime.scheduler.request import Changed, Request

MASK = "▒▒▒"
NEW, MASKED, END = "bold black on green", "grey37", "grey50"


class CanvasView:
    """The decoded region of one request, as of its last event."""

    def __init__(self, model: Model, request: Request) -> None:
        self.model, self.request, self.canvas, self.block = model, request, request.canvas, request.settings.block
        self.pieces: dict[int, str] = {}
        self.forward = 0
        self.tokens = request.canvas.tokens.copy()
        self.new: set[int] = set()

    def update(self, event: Changed) -> None:
        """Take a change; the tokens that a forward wrote stay highlighted together."""
        if event.forward != self.forward:
            self.forward, self.new = event.forward, set()
        change = event.change
        self.tokens = change.applied_to(self.tokens, self.canvas.mask_token_id)
        if isinstance(change, Commit | Edit):
            self.new |= set(change.positions.tolist())

    @property
    def decoded(self) -> int:
        """Count the cells that are no longer masked."""
        return int((self.tokens[self.canvas.start : self.canvas.stop] != self.canvas.mask_token_id).sum())

    def __rich__(self) -> RenderableType:
        return Group(*self.panels(), Text(self.counters(), style="dim"))

    def panels(self) -> list[Panel]:
        """Return a panel for each block; the blocks that are complete have a green border."""
        edges = [*range(self.canvas.start, self.canvas.stop, self.block), self.canvas.stop]
        return [self._panel(number, start, stop) for number, (start, stop) in enumerate(pairwise(edges), 1)]

    def counters(self) -> str:
        """Return the forwards, the cells and their ratio in one line."""
        cells = self.canvas.stop - self.canvas.start
        rate = self.decoded / self.forward if self.forward else 0.0
        return f"forward {self.forward}   {self.decoded} of {cells} cells   {rate:.1f} cells/forward"

    def _panel(self, number: int, start: int, stop: int) -> Panel:
        masked = self.tokens[start:stop] == self.canvas.mask_token_id
        style = "green" if not masked.any() else "yellow" if not masked.all() else "grey37"
        return Panel(self._cells(range(start, stop)), title=f"block {number}", title_align="left", border_style=style)

    def _cells(self, positions: Collection[int]) -> Text:
        text = Text()
        for position in positions:
            token = int(self.tokens[position])
            if token == self.canvas.mask_token_id:
                text.append(MASK, MASKED).append(" ")
            elif token in self.canvas.config.eos_token_ids:
                text.append("·", NEW if position in self.new else END).append(" ")
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
