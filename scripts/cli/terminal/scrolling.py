"""Which lines of something tall are shown in a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def shown_lines(heights: Sequence[int], current: int, newest: int | None, room: int) -> tuple[int, int]:
    """Return the first line that is shown, and the one after the last, of parts of so many lines, one below the other.

    At most `room` lines are shown, but at least one: the part of index `current` in their middle, or of one that does not
    fit the lines around `newest`, the line of the newest change (None: its beginning).
    """
    room, total = max(1, room), sum(heights)
    start = sum(heights[:current])
    stop = start + heights[current]
    if stop - start <= room:
        first = start - (room - (stop - start)) // 2
    else:
        newest = start if newest is None else newest
        first = min(max(newest - room // 2, start), stop - room)
    first = max(0, min(first, total - room))
    return first, min(total, first + room)
