from __future__ import annotations

import pytest

from dllm_edge import DllmEdgeError
from dllm_edge.scripts.cli.terminal.options import parse_contexts, parse_settings, parse_systems


def test_contexts() -> None:
    assert parse_contexts("512, 2048", 4096) == (512, 2048)
    assert [parse_contexts(None, positions) for positions in (512, 4096)] == [(512,), (2048,)]
    for text in ("many", "1", ""):
        with pytest.raises(DllmEdgeError, match=rf"--context {text}: must be numbers from 2 to"):
            parse_contexts(text, 4096)


def test_settings_are_text_but_the_length_that_has_an_option() -> None:
    assert parse_settings(["threshold=0.8", "unmask = quota"], 32) == {"threshold": "0.8", "unmask": "quota", "gen_length": 32}
    assert parse_settings(None, None) == {}
    for text in ("threshold", "=1", "threshold="):
        with pytest.raises(DllmEdgeError, match=f"--set {text}: must be key=value"):
            parse_settings([text], None)


def test_systems() -> None:
    assert parse_systems("sparse-dllm, vanilla") == ["sparse-dllm", "vanilla"]
    with pytest.raises(DllmEdgeError, match="unknown system 'magic': choose one of vanilla"):
        parse_systems("vanilla,magic")
