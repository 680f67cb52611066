from __future__ import annotations

import pytest

from dllm_edge.scripts.cli.terminal.scrolling import shown_lines

HEIGHTS = [4, 4, 20, 4]


@pytest.mark.parametrize(
    ("current", "newest", "room", "shown"),
    [
        (0, None, 40, (0, 32)),
        (0, None, 10, (0, 10)),
        (1, 5, 10, (1, 11)),
        (1, 5, 4, (4, 8)),
        (2, None, 10, (8, 18)),
        (2, 20, 10, (15, 25)),
        (2, 27, 10, (18, 28)),
        (2, 9, 10, (8, 18)),
        (3, 29, 10, (22, 32)),
        (3, 29, 0, (29, 30)),
    ],
)
def test_lines(current: int, newest: int | None, room: int, shown: tuple[int, int]) -> None:
    assert shown_lines(HEIGHTS, current, newest, room) == shown
