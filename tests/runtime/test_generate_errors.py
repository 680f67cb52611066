from __future__ import annotations

from pathlib import Path
from typing import Any

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
        ({"prompt": PROMPT, "treshold": 1}, "vanilla has no setting 'treshold'; it has gen_length"),
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
    with pytest.raises(DllmEdgeError, match="max_batch=0"):
        model.generate_batch([PROMPT], max_batch=0)


def test_infill_without_a_mask(model: Model) -> None:
    with pytest.raises(DllmEdgeError, match="no masked position"):
        model.infill([1, 2, 4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "openvino"}, "unknown engine 'openvino': choose one of onnxruntime, tensorrt, tensorrt-rtx"),
        ({"device": "npu"}, "onnxruntime does not run on device 'npu': use cpu or cuda"),
        ({"engine": "tensorrt", "device": "cpu"}, "tensorrt does not run on device 'cpu': use cuda"),
    ],
)
def test_load_names_what_it_does_not_know(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DllmEdgeError, match=message):
        dllm_edge.load(tmp_path, **options)


def test_load_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(DllmEdgeError, match="no such bundle"):
        dllm_edge.load(tmp_path / "missing")
