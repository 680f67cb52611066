from __future__ import annotations

import re
from itertools import count

import pytest

from dllm_edge.scripts.cli.terminal.progress import progress_bars


def test_the_time_that_is_left_is_known_of_decodes_that_take_minutes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tenth every 200 seconds: at two tenths 400 have gone, and 1600 are left."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    now = [0.0]
    monkeypatch.setattr("rich.console.monotonic", lambda: now[0])
    with progress_bars() as progress:
        for tenths in count():
            progress("arithmetic", tenths / 10)
            if tenths == 2:
                break
            now[0] += 200
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err).splitlines()
    assert lines[-1].split()[-2:] == ["0:06:40", "0:26:40"]
    assert max(map(len, lines)) <= 80
