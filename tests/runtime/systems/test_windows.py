"""What each system sends and lets be seen, on a canvas of 5 + 16 in blocks of 8."""

from __future__ import annotations

from typing import Any

import pytest

from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.systems.wino import leave_one_out

from ..numpy_engine import ENDLESS, MASK, SHIFTED, NumpyEngine
from ..recorder import Launch, Recorder, finish
from ..scripted import request

ALL = list(range(21))
FIRST, SECOND = list(range(5, 13)), list(range(13, 21))
WHOLE: tuple[str, list[int], list[int]] = ("whole", ALL, [])
REFRESH: tuple[str, list[int], list[int]] = ("refresh", ALL, [])


def sent(launch: Launch) -> tuple[str, list[int], list[int]]:
    """Its kind, the positions that it sends, the slots that these see."""
    kind = "refresh" if launch.bind else "block" if launch.cache else "whole"
    return kind, launch.position_ids[0].tolist(), launch.visible


def steps(system: str, **settings: Any) -> list[tuple[str, list[int], list[int]]]:
    engine = Recorder(NumpyEngine())
    finish(engine, [request(system, steps=4, early_stop=False, **settings)])
    return [sent(launch) for launch in engine.launches]


def test_vanilla() -> None:
    assert steps("vanilla") == [WHOLE] * 4


def test_saber_sends_everything_and_looks_at_all_that_was_decoded() -> None:
    engine = Recorder(NumpyEngine())
    asked = request("saber", early_stop=False, unmask="saber")
    (end,) = finish(engine, [asked])
    assert {sent(launch)[0] for launch in engine.launches} == {"whole"}
    predicted = [step.predicts.tolist() for step in end.trace]
    assert [step for index, step in enumerate(predicted) if step not in predicted[:index]] == [FIRST, FIRST + SECOND]


def test_klass_sends_everything_and_predicts_all_from_the_block_on() -> None:
    engine = Recorder(NumpyEngine())
    (end,) = finish(engine, [request("klass", early_stop=False, unmask="klass")])
    assert {sent(launch)[0] for launch in engine.launches} == {"whole"}
    predicted = [step.predicts.tolist() for step in end.trace]
    assert [step for index, step in enumerate(predicted) if step not in predicted[:index]] == [FIRST + SECOND, SECOND]


def test_wino_sends_everything_and_the_block_once_more() -> None:
    """The shadow's masks see all but the position that each predicts, and nobody sees them; here the second block."""
    for config, behind in ((ENDLESS, SECOND), (SHIFTED, [position - 1 for position in SECOND])):
        engine = Recorder(NumpyEngine(config))
        asked = request("wino", config=config, early_stop=False, unmask="wino", threshold=0.1)
        (end,) = finish(engine, [asked])
        assert end.trace[-1].positions.tolist() == ALL + behind
        assert end.trace[-1].input_ids[21:].tolist() == [MASK] * 8
        assert end.trace[-1].predicts.tolist() == SECOND + SECOND
        assert {sent(launch)[0] for launch in engine.launches} == {"whole"}
    seen = leave_one_out(asked.canvas, Block(13, 21))
    assert not seen[:21, 21:].any()
    assert seen[:21, :21].all()
    assert seen[21:, 21:].all()
    assert [row.nonzero()[0].tolist() for row in ~seen[21:]] == [[position] for position in SECOND]


def test_dkv_cache_sends_a_token_once_more_and_then_no_longer() -> None:
    """Eight forwards a block, each of one token: what it sends is all but what was decided two forwards ago."""
    engine = Recorder(NumpyEngine())
    (end,) = finish(engine, [request("dkv-cache", early_stop=False, refresh=6)])
    decoded = [int(commit.positions[0]) for commit in end.request.canvas.commits]
    assert [sent(launch)[0] for launch in engine.launches] == (["refresh"] * 2 + ["block"] * 4 + ["refresh", "block"]) * 2
    for index, launch in enumerate(engine.launches):
        cached = sorted([*ALL[:5], *decoded[: index - 1]]) if launch.cache else []
        assert sent(launch)[1:] == ([position for position in ALL if position not in cached], cached)


def test_dkv_cache_sends_the_row_that_predicts_a_mask() -> None:
    """Of a model with shifted logits: the row before each of the block's masks."""
    engine = Recorder(NumpyEngine(SHIFTED))
    (end,) = finish(engine, [request("dkv-cache", config=SHIFTED, early_stop=False)])
    decoded = [int(commit.positions[0]) for commit in end.request.canvas.commits]
    for index, launch in enumerate(engine.launches[2:8], 2):
        masks = [position for position in FIRST if position not in decoded[:index]]
        cached = {*ALL[:5], *decoded[: index - 1]} - {position - 1 for position in masks}
        assert sent(launch)[1:] == ([position for position in ALL if position not in cached], sorted(cached))


def test_vicinity_sends_the_neighbours_of_a_block() -> None:
    assert steps("vicinity", window=3, warmup=0) == [
        REFRESH,
        ("block", ALL[2:16], [*ALL[:2], *ALL[16:]]),
        REFRESH,
        ("block", ALL[10:], ALL[:10]),
    ]


def test_prefix_sends_the_block_and_what_follows_over_what_lies_before() -> None:
    assert steps("fast-dllm-prefix") == [
        REFRESH,
        ("block", FIRST + SECOND, ALL[:5]),
        REFRESH,
        ("block", SECOND, ALL[:13]),
    ]


def test_dual_sends_the_block_over_all_but_the_block() -> None:
    assert steps("fast-dllm-dual") == [
        REFRESH,
        ("block", FIRST, ALL[:5] + SECOND),
        REFRESH,
        ("block", SECOND, ALL[:13]),
    ]


@pytest.mark.parametrize(("retention", "kept"), [(1.0, 13), (0.5, 6), (0.3, 3), (0.0, 0)])
def test_sparse_sends_the_block_over_what_was_kept(retention: float, kept: int) -> None:
    slots = list(range(kept))
    assert steps("sparse-dllm", retention=retention, delay=0) == [
        REFRESH,
        ("block", FIRST, slots),
        REFRESH,
        ("block", SECOND, slots),
    ]


PRUNED = {"window": 2, "retention": 1.0}


def test_streaming_sends_the_block_and_a_pruned_suffix_over_what_lies_before() -> None:
    """Positions are the canvas' own; a refresh is padded to the cache. After the second block there is nothing to prune."""
    pruned = [*FIRST, 13, 14, 20]
    assert steps("streaming-dllm", **PRUNED) == [
        ("refresh", ALL[:5] + pruned + [0] * 5, []),
        ("block", pruned, ALL[:5]),
        REFRESH,
        ("block", SECOND, ALL[:13]),
    ]
    assert steps("streaming-dllm", **PRUNED, trailing=0)[1] == ("block", pruned[:-1], ALL[:5])


@pytest.mark.parametrize(("retention", "kept"), [(0.6, [3, 7]), (0.0, [0, 0])])
def test_streaming_sees_what_was_kept_of_the_prefix(retention: float, kept: list[int]) -> None:
    """What is sent anew in each step is never kept: neither the block nor its suffix."""
    sent_of = steps("streaming-dllm", window=2, retention=retention)
    assert [(kind, slots) for kind, _, slots in sent_of] == [
        ("refresh", []),
        ("block", list(range(kept[0]))),
        ("refresh", []),
        ("block", list(range(kept[1]))),
    ]
    assert sent_of[1][1] == [*FIRST, 13, 14, 20]


@pytest.mark.parametrize(
    ("system", "settings", "kinds"),
    [
        ("fast-dllm-dual", {}, "Rbbb Rbbb"),
        ("fast-dllm-dual", {"refresh": 2}, "RbRb RbRb"),
        ("fast-dllm-dual", {"refresh": 3}, "RbbR RbbR"),
        ("fast-dllm-prefix", {"refresh": 1}, "RRRR RRRR"),
        ("sparse-dllm", {}, "wRbb wRbb"),
        ("sparse-dllm", {"delay": 0}, "Rbbb Rbbb"),
        ("sparse-dllm", {"delay": 2}, "wwRb wwRb"),
        ("sparse-dllm", {"delay": 9}, "wwww wwww"),
        ("streaming-dllm", {}, "Rbbb Rbbb"),
        ("streaming-dllm", PRUNED, "Rbbb Rbbb"),
        ("vanilla", {}, "wwww wwww"),
    ],
)
def test_when_the_cache_is_filled(system: str, settings: dict[str, Any], kinds: str) -> None:
    engine = Recorder(NumpyEngine())
    finish(engine, [request(system, steps=8, early_stop=False, **settings)])
    letters = {"refresh": "R", "block": "b", "whole": "w"}
    assert "".join(letters[sent(launch)[0]] for launch in engine.launches) == kinds.replace(" ", "")


def test_a_block_that_the_full_pass_completes_takes_no_other() -> None:
    """The published code runs one more forward; and there is nothing to evict for."""
    for system in ("fast-dllm-prefix", "fast-dllm-dual", "sparse-dllm", "streaming-dllm"):
        engine = Recorder(NumpyEngine())
        finish(engine, [request(system, unmask="threshold", threshold=0.0, early_stop=False)])
        assert len(engine.launches) == 2
    for system in ("sparse-dllm", "streaming-dllm"):
        engine = Recorder(NumpyEngine())
        finish(engine, [request(system, steps=2, delay=0, early_stop=False)])
        assert engine.operations == []


def test_a_shifted_refresh_commits_the_blocks_first_token_alone() -> None:
    for system in ("fast-dllm-prefix", "fast-dllm-dual", "sparse-dllm", "streaming-dllm"):
        for config, first in ((SHIFTED, 1), (ENDLESS, 8)):
            asked = request(system, config=config, unmask="threshold", threshold=0.0, early_stop=False)
            finish(NumpyEngine(config), [asked])
            assert asked.canvas.commits[0].positions.tolist() == FIRST[:first]
