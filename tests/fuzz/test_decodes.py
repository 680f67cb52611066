"""Decodes with any settings over any canvas: refused, or they end, keep what was given, and are the same in a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, reject
from hypothesis import strategies as st

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import DECLARED, Setting, Settings, with_settings
from dllm_edge.runtime.scheduler.request import Finished, Request
from dllm_edge.runtime.scheduler.scheduler import Scheduler
from dllm_edge.runtime.systems import SYSTEMS
from dllm_edge.runtime.systems.base import System

from ..runtime.numpy_engine import ENDLESS, MASK, SHIFTED, NumpyEngine
from .budget import examples
from .damage import VALUES
from .running import no_hang

ENGINES = {id(config): NumpyEngine(config) for config in (ENDLESS, SHIFTED)}


def values(setting: Setting) -> st.SearchStrategy[Any]:
    """Draw what a setting may be, as a value or as text, and what it may not."""
    allowed: st.SearchStrategy[Any]
    if setting.choices:
        allowed = st.sampled_from(sorted(setting.choices))
    elif setting.dtype is bool:
        allowed = st.booleans()
    elif setting.dtype is int:
        allowed = st.integers(int(setting.least or 0), int(min(setting.most or 24, 24)))
    else:
        allowed = st.floats(setting.least or 0.0, min(setting.most or 4.0, 4.0))
    return st.one_of(allowed, allowed, allowed, allowed, allowed.map(str), st.sampled_from(VALUES))


@st.composite
def chosen_settings(draw: st.DrawFn, system: System) -> Settings:
    names = draw(st.lists(st.sampled_from(sorted(system.setting_names)), max_size=4, unique=True))
    changes = {name: draw(values(DECLARED[name])) for name in names}
    try:
        return with_settings(Settings(gen_length=16, block_length=8), changes, system.setting_names, system.name)
    except DllmEdgeError as error:
        assert "\n" not in str(error)  # noqa: PT017
        reject()


tokens = st.lists(st.sampled_from([MASK, MASK, MASK, 5, 6, 7, 8, 20]), min_size=1, max_size=24)
canvases = tokens.filter(lambda ids: MASK in ids)


def finished(config: ModelConfig, requests: list[Request]) -> list[Finished]:
    ends = {id(event.request): event for event in Scheduler(ENGINES[id(config)]).run(requests) if isinstance(event, Finished)}
    return [ends[id(request)] for request in requests]


@given(st.data())
@examples(200)
def test_decodes(data: st.DataObject) -> None:
    system = data.draw(st.sampled_from(sorted(SYSTEMS.values(), key=lambda system: system.name)))
    config = data.draw(st.sampled_from([ENDLESS, SHIFTED]))
    settings = data.draw(chosen_settings(system))
    batch = data.draw(st.lists(canvases, min_size=1, max_size=3))
    seed = data.draw(st.integers(0, 9))

    def request(tokens: list[int]) -> Request:
        length = len(tokens)
        return Request(Canvas(tokens, config), system, settings.replace(gen_length=length, steps=0), seed)

    with no_hang():
        together = [request(tokens) for tokens in batch]
        ends = finished(config, together)
        for tokens, mine, end in zip(batch, together, ends, strict=True):
            alone = request(tokens)
            (own,) = finished(config, [alone])
            assert end.reason == own.reason != "failed", end.error
            assert mine.canvas.tokens.tolist() == alone.canvas.tokens.tolist()
            after = mine.canvas.tokens
            kept = np.array(tokens[: after.size]) != MASK
            assert (after[kept] == np.array(tokens[: after.size])[kept]).all(), "what was given stays"
            if end.reason == "complete":
                assert MASK not in after


@given(st.data())
@examples(200)
def test_settings(data: st.DataObject) -> None:
    """Any value of any setting is taken, and then of the setting's type and within its bounds, or refused in one line."""
    setting = data.draw(st.sampled_from(list(DECLARED.values())))
    value = data.draw(st.sampled_from(VALUES) | st.text(max_size=12) | values(setting))
    try:
        taken = getattr(with_settings(Settings(), {setting.name: value}, DECLARED, "any"), setting.name)
    except DllmEdgeError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert type(taken) is setting.dtype
    if isinstance(taken, float | int):
        assert setting.least is None or taken >= setting.least
        assert setting.most is None or taken <= setting.most
