from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer

import dllm_edge
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.bundle.manifest import Manifest
from dllm_edge.runtime.generate import Event, Model
from dllm_edge.runtime.scheduler.request import Changed, Finished
from dllm_edge.runtime.systems import SYSTEMS

from .numpy_engine import CONFIG, MASK
from .recorder import Recorder

PROMPT = "w1 w7 w2"


def launches(model: Model) -> int:
    assert isinstance(model.engine, Recorder)
    return len(model.engine.launches)


def rows(model: Model) -> int:
    assert isinstance(model.engine, Recorder)
    return sum(launch.profile.queries for launch in model.engine.launches)


@pytest.mark.parametrize("system", SYSTEMS)
def test_generate(system: str, model: Model) -> None:
    result = model.generate(PROMPT, system=system)
    assert result.canvas[:6] == [10, 1, 7, 2, 11, 12]
    assert result.canvas[6:] == result.token_ids
    assert result.text == " ".join(f"w{token}" for token in result.token_ids)
    assert (len(result.token_ids), result.finish_reason, result.system) == (16, "complete", system)
    assert result.forwards == launches(model)
    assert result.rows_sent == result.to_json()["rows_sent"] == rows(model)
    assert result.tokens_per_forward == 16 / result.forwards
    assert result.seconds == pytest.approx(result.engine_seconds + result.host_seconds)
    assert result.trace == []


def test_the_same_prompt_in_every_form(model: Model) -> None:
    given: list[dict[str, Any]] = [
        {"prompt": PROMPT},
        {"messages": [{"role": "user", "content": PROMPT}]},
        {"prompt": f"w10 {PROMPT} w11 w12", "chat": False},
        {"prompt": [10, 1, 7, 2, 11, 12]},
        {"prompt": [10, 1, 7, 2, 11, 12], "chat": True},
        {"prompt": np.array([10, 1, 7, 2, 11, 12])},
    ]
    results = [model.generate(**form) for form in given]
    assert all(result.canvas == results[0].canvas for result in results)
    assert model.generate(PROMPT, chat=False).canvas[:3] == [1, 7, 2]


def test_several_messages(model: Model) -> None:
    messages = [{"role": "user", "content": "w1"}, {"role": "assistant", "content": "w2"}, {"role": "user", "content": "w4"}]
    assert model.encode(messages=messages) == [10, 1, 11, 10, 2, 11, 10, 4, 11, 12]


def with_special(model: Model, word: str) -> Model:
    """Return the model with `word` as a special token of its tokenizer."""
    tokenizer = Tokenizer.from_file(str(model.bundle.path / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False)])
    tokenizer.save(str(model.bundle.path / "tokenizer.json"))
    return Model(model.bundle, model.engine)


@pytest.mark.parametrize(
    "given",
    [
        {"prompt": "w1 w10 w2"},
        {"prompt": "w1 w10 w2", "chat": False},
        {"messages": [{"role": "user", "content": "w1 w10 w2"}]},
        {"messages": [{"role": "w10", "content": "w1"}]},
        {"messages": [{"role": "user", "content": "w1", "name": "w10"}]},
    ],
)
def test_a_prompts_own_text_becomes_no_special_token(given: dict[str, Any], model: Model) -> None:
    special = with_special(model, "w10")
    for refused in (special.encode, special.generate, special.stream):
        with pytest.raises(DllmEdgeError, match="the prompt contains the special token 'w10', which only the chat template"):
            refused(**given)
    ids = special.encode(**given, special_tokens=True)
    assert special.generate(**given, special_tokens=True).canvas[: len(ids)] == ids
    assert next(special.stream(**given, special_tokens=True)).canvas[: len(ids)] == ids
    assert special.encode("w1") == [10, 1, 11, 12]


def test_messages_that_make_a_special_token_together(model: Model) -> None:
    messages = [{"role": "user", "content": "w1 w "}, {"role": "user", "content": "10"}]
    with pytest.raises(DllmEdgeError, match="the special token 'w10'"):
        with_special(model, "w10").encode(messages=messages)


def test_special_tokens_of_a_batch(model: Model) -> None:
    special = with_special(model, "w10")
    with pytest.raises(DllmEdgeError, match="the special token 'w10'"):
        special.generate_batch(["w1", "w10"])
    assert special.generate_batch(["w1", "w10"], chat=False, special_tokens=True)[1].canvas[0] == 10
    assert special.generate_batch([[10, 1]])[0].canvas[:2] == [10, 1]


def test_a_bundle_without_a_chat_template_takes_text_as_it_is(model: Model) -> None:
    (model.bundle.path / "chat_template.jinja").unlink()
    plain = Model(model.bundle, model.engine)
    assert plain.encode(PROMPT) == [1, 7, 2]
    with pytest.raises(DllmEdgeError, match="no chat template"):
        plain.generate(messages=[{"role": "user", "content": PROMPT}])


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_batch_gives_what_each_prompt_gives_alone(system: str, model: Model) -> None:
    prompts: list[Any] = ["w1", [4, 4, 8, 9, 2], PROMPT, "w30 w31"]
    options: dict[str, Any] = {"system": system, "seed": 5, "temperature": 0.5, "trace": True}
    together = model.generate_batch(prompts, max_batch=3, **options)
    for prompt, result in zip(prompts, together, strict=True):
        alone = model.generate(prompt, **options)
        assert (result.canvas, result.forwards, result.settings) == (alone.canvas, alone.forwards, alone.settings)
        assert [step.kind for step in result.trace] == [step.kind for step in alone.trace]
    assert max(step.batch for result in together for step in result.trace) == 3
    assert model.generate_batch([]) == []


def test_a_seed_is_reproducible(model: Model) -> None:
    results = [model.generate(PROMPT, seed=seed, temperature=1.0).canvas for seed in (1, 1, 2, 0)]
    assert results[0] == results[1] != results[2]
    assert results[3] == model.generate(PROMPT, temperature=1.0).canvas
    assert model.generate(PROMPT, seed=1).canvas == model.generate(PROMPT, seed=2).canvas


@pytest.mark.parametrize("system", ["saber", "fast-dllm-dual"])
def test_stream_yields_what_is_taken_back(system: str, model: Model) -> None:
    events = list(model.stream(PROMPT, system=system, unmask="saber", block_length=8))
    result = model.generate(PROMPT, system=system, unmask="saber", block_length=8)
    assert {event.kind for event in events} == {"commit", "remask"}
    returned = [event for event in events if event.kind == "remask"]
    assert all(set(event.token_ids) == {MASK} and event.confidences == [] for event in returned)
    assert all(event.canvas[position] == MASK for event in returned for position in event.positions)
    assert events[-1].canvas == result.canvas


@pytest.mark.parametrize("system", [name for name in SYSTEMS if SYSTEMS[name].rules is None])
def test_stream_yields_each_commit(system: str, model: Model) -> None:
    events = list(model.stream(PROMPT, system=system, unmask="threshold", threshold=0.4))
    result = model.generate(PROMPT, system=system, unmask="threshold", threshold=0.4)
    canvas = result.canvas[:6] + [MASK] * 16
    for event in events:
        assert isinstance(event, Event)
        assert event.positions == sorted(event.positions)
        assert len(event.positions) == len(event.token_ids) == len(event.confidences)
        for position, token in zip(event.positions, event.token_ids, strict=True):
            assert canvas[position] == MASK
            canvas[position] = token
        assert event.canvas == canvas
    assert canvas == result.canvas
    assert events[-1].forward == result.forwards
    json.dumps([vars(event) for event in events])


def test_closing_a_stream_cancels(model: Model) -> None:
    stream = model.stream(PROMPT)
    next(stream)
    stream.close()
    assert launches(model) == 1
    assert list(stream) == []


def test_stream_refuses_when_it_is_called(model: Model) -> None:
    with pytest.raises(DllmEdgeError, match="unknown system"):
        model.stream(PROMPT, system="magic")


def test_infill_keeps_what_is_given(model: Model) -> None:
    tokens = [1, MASK, MASK, 7, MASK, 8, 9, MASK, 2]
    for system in SYSTEMS:
        result = model.infill(tokens, system)
        assert all(new == old for new, old in zip(result.canvas, tokens, strict=True) if old != MASK)
        assert MASK not in result.canvas
        assert result.token_ids == result.canvas[1:8]
        assert result.forwards <= 4
        assert (result.settings.gen_length, result.settings.block_length, result.settings.early_stop) == (7, 0, False)
    assert model.infill(tokens, block_length=7).canvas == model.infill(tokens).canvas


def test_infill_equals_generation_where_only_the_end_is_masked(model: Model) -> None:
    tokens = [1, 7, 2, *[MASK] * 16]
    assert model.infill(tokens, block_length=4).canvas == model.generate([1, 7, 2]).canvas


@pytest.mark.parametrize(
    ("system", "given", "expected"),
    [
        # Settings' own defaults < the bundle's < the system's < the bundle's for the system < the call's.
        ("sparse-dllm", {}, {"gen_length": 16, "block_length": 8, "retention": 0.25, "kernel": 3, "unmask": "quota"}),
        ("fast-dllm-prefix", {}, {"threshold": 0.7, "unmask": "threshold"}),
        ("fast-dllm-dual", {}, {"threshold": 0.4, "unmask": "threshold"}),
        ("fast-dllm-dual", {"threshold": "0.2", "unmask": "factor"}, {"threshold": 0.2, "unmask": "factor"}),
        ("vanilla", {}, {"block_length": 4, "unmask": "quota"}),
        ("vanilla", {"block_length": 0, "gen_length": 5}, {"block_length": 0, "gen_length": 5}),
    ],
)
def test_whose_settings_win(system: str, given: dict[str, Any], expected: dict[str, Any], model: Model) -> None:
    chosen = model.settings(system, **given)
    assert {name: getattr(chosen, name) for name in expected} == expected
    assert model.generate(PROMPT, system=system, **given).settings == chosen


def test_early_stop_and_what_counts_as_generated(model: Model) -> None:
    plain = model.generate(PROMPT)
    token = plain.token_ids[5]
    place = plain.token_ids.index(token)
    config = replace(CONFIG, eos_token_ids=(token,))
    manifest = Manifest("numpy", config, (MASK,), 32, "float32", "float32", {}, {}, {})
    ending = Model(Bundle(model.bundle.path, manifest), model.engine)
    stopped, whole = ending.generate(PROMPT), ending.generate(PROMPT, early_stop=False)
    assert stopped.finish_reason == whole.finish_reason == "stop"
    assert stopped.token_ids == whole.token_ids == plain.token_ids[:place]
    assert stopped.forwards < whole.forwards == 16
    assert stopped.tokens_per_forward == place / stopped.forwards


def test_a_step_limit(model: Model) -> None:
    result = model.generate(PROMPT, max_steps=5)
    assert (result.forwards, result.finish_reason, len(result.token_ids)) == (5, "step_limit", 5)


def test_as_json(model: Model) -> None:
    data = json.loads(json.dumps(model.generate(PROMPT, system="fast-dllm-dual", trace=True).to_json()))
    assert data["generated_tokens"] == len(data["token_ids"]) == 16
    assert data["settings"]["threshold"] == 0.4
    assert len(data["trace"]) == data["forwards"]
    assert data["host_seconds"] == pytest.approx(data["seconds"] - data["engine_seconds"])
    assert data["steady_cache_bytes"] == data["peak_cache_bytes"] > 0


def test_watching_a_decode(model: Model) -> None:
    seen: list[Changed | Finished] = []
    requests = [model.request(prompt, "vanilla") for prompt in ([1], [2, 4])]
    results = model.decode(requests, watch=seen.append)
    assert sum(isinstance(event, Finished) for event in seen) == 2
    assert all(event.change in event.request.canvas.commits for event in seen if isinstance(event, Changed))
    assert sum(commit.ids.size for request in requests for commit in request.canvas.commits) == 32
    assert [result.canvas for result in results] == [request.canvas.tokens.tolist() for request in requests]


@pytest.mark.parametrize("family", ["llada", "dream", "sdar"])
def test_a_loaded_bundle_decodes_by_its_own_settings(family: str, tiny_bundle: Callable[..., Path]) -> None:
    pytest.importorskip("torch", reason="a bundle is exported for this")
    model = dllm_edge.load(tiny_bundle(family), threads=2)
    loaded = model.engine.loaded_step()
    assert loaded
    assert loaded.handle.get_session_options().intra_op_num_threads == 2
    for system in SYSTEMS:
        if model.config.attention not in SYSTEMS[system].attention:
            with pytest.raises(DllmEdgeError, match="not for models with block-causal attention: use vanilla"):
                model.generate("the thing", system=system)
            continue
        result = model.generate("the thing", system=system, gen_length=32)
        assert result.finish_reason in ("complete", "stop")
        assert result.token_ids == result.canvas[-32:][: len(result.token_ids)]
