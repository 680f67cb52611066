from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dllm_edge
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.generate import Model

from .numpy_engine import MASK, VOCABULARY
from .recorder import Recorder

PROMPT = "w1 w7 w2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": PROMPT, "system": "magic"}, "unknown system 'magic': choose one of vanilla"),
        ({"prompt": PROMPT, "treshold": 1}, "vanilla has no setting 'treshold'; did you mean 'threshold'? it has gen_length"),
        ({"prompt": PROMPT, "retention": 0.5}, "vanilla has no setting 'retention'"),
        ({"prompt": PROMPT, "threshold": 7}, "threshold=7.0: must be between 0 and 1.01"),
        ({"prompt": PROMPT, "gen_length": 10, "steps": 7}, "steps=7 do not spread evenly over 3 blocks"),
        ({"prompt": PROMPT, "gen_length": 124}, "take 130 positions; this model has 128"),
        ({"prompt": [1] * 120}, "take 136 positions; this model has 128: shorten the prompt, or lower gen_length to 8"),
        ({"prompt": [1, VOCABULARY]}, "token id 41 lies outside the vocabulary of 41"),
        ({"prompt": [1, MASK]}, "the prompt contains the mask token"),
        ({"prompt": [1.5]}, "token ids must be whole numbers"),
        ({"prompt": []}, "the prompt is empty"),
        ({"prompt": "", "chat": False}, "the prompt is empty"),
        ({}, "give either a prompt or messages"),
        ({"prompt": PROMPT, "messages": []}, "give either a prompt or messages"),
        ({"messages": []}, "messages must be a list"),
        ({"messages": 5}, "messages must be a list"),
        ({"messages": {"role": "user", "content": "w1"}}, "messages must be a list"),
        ({"prompt": 5}, "the prompt is 5; it must be text or a list of token ids"),
        ({"prompt": b"w1"}, "it must be text or a list of token ids"),
        ({"prompt": {1: 2}}, "it must be text or a list of token ids"),
        ({"prompt": iter([1])}, "it must be text or a list of token ids"),
        ({"prompt": ["w1", "w2"]}, "for several prompts use generate_batch()"),
        ({"prompt": [{"role": "user", "content": "w1"}]}, "give them as messages="),
        ({"prompt": [1, -1]}, "token id -1 lies outside the vocabulary of 41"),
        ({"prompt": [1, 10**30]}, "a token id lies outside every vocabulary"),
        ({"prompt": [1, True]}, "token ids must be whole numbers, not true"),
        ({"prompt": [1, "w2"]}, 'token ids must be whole numbers, not "w2"'),
        ({"prompt": [1, None]}, "token ids must be whole numbers, not null"),
        ({"prompt": [[1], [2, 3]]}, "token ids must be whole numbers, not [1]"),
        ({"prompt": np.array([[1, 2]])}, "token ids must be whole numbers, in a list or an array of one axis"),
        ({"prompt": np.array([1.0])}, "token ids must be whole numbers, in a list or an array of one axis"),
        ({"prompt": np.array(1)}, "token ids must be whole numbers, in a list or an array of one axis"),
        ({"prompt": np.array([], np.int64)}, "the prompt is empty"),
        ({"prompt": PROMPT, "chat": "no"}, 'chat is "no"; it must be true or false'),
        ({"prompt": PROMPT, "seed": -1}, "seed is -1; it must be at least 0"),
        ({"prompt": PROMPT, "seed": "a"}, 'seed is "a"; it must be a whole number'),
        ({"prompt": PROMPT, "seed": 1.5}, "seed is 1.5; it must be a whole number"),
        ({"prompt": PROMPT, "seed": True}, "seed is true; it must be a whole number"),
        ({"prompt": PROMPT, "seed": None}, "seed is null; it must be a whole number"),
        ({"prompt": PROMPT, "trace": "x"}, 'trace is "x"; it must be true or false'),
        ({"prompt": PROMPT, "system": 5}, "system is 5; it must be text"),
        ({"prompt": PROMPT, "system": ["vanilla"]}, 'system is ["vanilla"]; it must be text'),
        ({"prompt": PROMPT, "max_batch": 2}, "vanilla has no setting 'max_batch'"),
        ({"prompt": PROMPT, "threshold": float("nan")}, "threshold=nan: must be between 0 and 1.01"),
        ({"prompt": PROMPT, "threshold": True}, "threshold=True: must be a number"),
        ({"prompt": PROMPT, "gen_length": True}, "gen_length=True: must be a whole number"),
        ({"prompt": PROMPT, "gen_length": 10**5000}, "gen_length=a number of thousands of digits: must be at most"),
        ({"prompt": PROMPT, "gen_length": "1_6"}, "gen_length=1_6: must be a whole number"),
        ({"prompt": PROMPT, "unmask": 5}, "unmask=5: must be one of"),
    ],
)
def test_what_cannot_be_decoded(options: dict[str, Any], message: str, model: Model) -> None:
    with pytest.raises(DllmEdgeError) as caught:
        model.generate(**options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(model.engine, Recorder)
    assert model.engine.launches == []


def test_a_batch_is_a_list(model: Model) -> None:
    with pytest.raises(DllmEdgeError, match="a list of prompts"):
        model.generate_batch(PROMPT)
    no_lists: tuple[Any, ...] = (5, None, b"w1", {"w1": "w2"})
    for prompts in no_lists:
        with pytest.raises(DllmEdgeError, match="a list of prompts"):
            model.generate_batch(prompts)
    with pytest.raises(DllmEdgeError, match="the prompt is 5"):
        model.generate_batch([PROMPT, 5])  # type: ignore[list-item]
    counts: tuple[Any, ...] = (0, -1, True, "2", 1.5, None)
    for wrong in counts:
        with pytest.raises(DllmEdgeError, match=r"max_batch(=| is )"):
            model.generate_batch([PROMPT], max_batch=wrong)


def test_infill_without_a_mask(model: Model) -> None:
    with pytest.raises(DllmEdgeError, match="no masked position"):
        model.infill([1, 2, 4])


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (5, "token ids are 5; they must be a list of whole numbers"),
        (None, "token ids are null"),
        ("w1", 'token ids are "w1"'),
        ([], "a canvas needs at least one token"),
        ([1.5, MASK], "token ids must be whole numbers, not 1.5"),
        ([VOCABULARY, MASK], "token id 41 lies outside the vocabulary of 41"),
        (np.array([-1, MASK]), "token id -1 lies outside the vocabulary of 41"),
    ],
)
def test_a_canvas_that_is_none(tokens: Any, message: str, model: Model) -> None:
    with pytest.raises(DllmEdgeError, match=re.escape(message)):
        model.infill(tokens)


def test_infill_is_asked_as_generate_is(model: Model) -> None:
    for options in ({"seed": -1}, {"system": 5}, {"treshold": 1}, {"threshold": "x"}):
        with pytest.raises(DllmEdgeError):
            model.infill([1, MASK], **options)


@pytest.mark.parametrize(
    "options", [{"prompt": 5}, {"prompt": PROMPT, "seed": -1}, {"prompt": PROMPT, "threshold": 7}, {"messages": 5}]
)
def test_a_stream_is_refused_before_it_begins(options: dict[str, Any], model: Model) -> None:
    with pytest.raises(DllmEdgeError):
        model.stream(**options)


def test_numbers_of_numpy_are_numbers(model: Model) -> None:
    ids = model.encode(PROMPT)
    wanted = model.generate(ids, seed=3, gen_length=16).token_ids
    prompts: tuple[Any, ...] = (np.array(ids), [np.int32(token) for token in ids], tuple(ids))
    for prompt in prompts:
        assert model.generate(prompt, seed=np.int64(3), gen_length=np.int64(16)).token_ids == wanted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "openvino"}, "unknown engine 'openvino': choose one of onnxruntime, tensorrt, tensorrt-rtx"),
        ({"device": "npu"}, "onnxruntime does not run on device 'npu': use cpu or cuda"),
        ({"engine": 5}, "engine is 5; it must be text"),
        ({"device": ["cpu"]}, "device is .*; it must be text"),
        ({"engine": "tensorrt", "device": "cpu"}, "tensorrt does not run on device 'cpu': use cuda"),
    ],
)
def test_load_names_what_it_does_not_know(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DllmEdgeError, match=message):
        dllm_edge.load(tmp_path, **options)


def test_load_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(DllmEdgeError, match="no such bundle"):
        dllm_edge.load(tmp_path / "missing")
    for name in ("a\0b", "x" * 5000):
        with pytest.raises(DllmEdgeError, match="no such bundle"):
            dllm_edge.load(name)
    for wrong in (None, 5, b"bundle", ["bundle"]):
        with pytest.raises(DllmEdgeError, match="it must be a folder, as text or as a path"):
            dllm_edge.load(wrong)  # type: ignore[arg-type]


def test_load_of_the_demo_says_what_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DllmEdgeError, match="the demo's bundle is not there yet: make it with 'dllm-edge info demo'"):
        dllm_edge.load("demo")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DllmEdgeError, match="demo: there is no such bundle"):
        dllm_edge.load(Path("demo"))


@pytest.mark.parametrize(
    ("decoding", "message"),
    [
        ('{"defaults": {"threshold": 7}}', "threshold=7.0: must be between 0 and 1.01"),
        ('{"defaults": {"threshold": NaN}}', "NaN is no number of JSON"),
        ('{"defaults": {"threshold": 1e999}}', "a number is too large"),
        ('{"defaults": {"threshold": null}}', "defaults.threshold is null; it must be text"),
        ('{"defaults": {"threshold": [0.5]}}', "defaults.threshold is [0.5]; it must be text"),
        ('{"defaults": {"colour": 7}}', "unknown setting 'colour'"),
        ('{"defaults": []}', "defaults is []; it must be an object"),
        ('{"systems": {"magic": {}}}', "unknown system 'magic'"),
        ('{"systems": {"vanilla": {"gen_length": "many"}}}', "gen_length=many: must be a whole number"),
        ('{"systems": {"vanilla": {"retention": 0.5}}}', "vanilla has no setting 'retention'"),
        ('{"systems": {"vanilla": 5}}', "systems.vanilla is 5; it must be an object"),
        ('{"task": 5}', "task is 5; it must be text"),
        ('{"further": 5}', 'it has the unknown field "further"'),
    ],
)
def test_defaults_of_a_bundle_that_cannot_be(decoding: str, message: str, model: Model) -> None:
    (model.bundle.path / "decoding.json").write_text(decoding)
    with pytest.raises(DllmEdgeError, match=rf"decoding\.json: .*{re.escape(message)}"):
        Model(model.bundle, model.engine)


def test_a_template_that_the_manifest_does_not_name_is_not_used(model: Model) -> None:
    files = {name: record for name, record in model.bundle.manifest.files.items() if name != "chat_template.jinja"}
    bundle = replace(model.bundle, manifest=replace(model.bundle.manifest, files=files))
    assert model.tokenizer.chat_template is not None
    assert Model(bundle, model.engine).tokenizer.chat_template is None
