"""Level 4 holds where the accuracies may be equal: over every problem, on both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.export.parity import task
from dllm_edge.export.parity.engine_pair import EnginePair
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.evaluation.evaluation import Evaluation
from dllm_edge.runtime.evaluation.outcome import Outcome
from dllm_edge.runtime.evaluation.task import find_task
from dllm_edge.runtime.generate import Model
from dllm_edge.runtime.systems import SYSTEMS

from ...runtime.numpy_engine import ENDLESS, NumpyEngine

COUNT = 8


@pytest.fixture
def pair(tiny_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> EnginePair:
    monkeypatch.setattr(Bundle, "task", "arithmetic")
    bundle = Bundle.open(tiny_bundle("llada"))
    pair = EnginePair(Model(bundle, NumpyEngine(ENDLESS)))
    pair.reference = Model(bundle, NumpyEngine(ENDLESS))
    return pair


@pytest.mark.parametrize(
    ("wrong", "passed"),
    [(range(0), True), (range(1), True), (range(6), False), (range(2, COUNT), False), (range(COUNT), False)],
)
def test_every_problem_counts(pair: EnginePair, monkeypatch: pytest.MonkeyPatch, wrong: range, passed: bool) -> None:
    systems: list[str] = []

    def evaluate(model: Model, chosen: Any, system: str, limit: int, progress: Any) -> Evaluation:
        systems.append(system)
        correct = [model is pair.reference or index not in wrong for index in range(limit)]
        outcome = Outcome("", "stop", 0, 1, 0, 40, 1.0, 0.5, 0, 0)
        return Evaluation(chosen.name, system, model.settings(system), correct, [outcome] * limit)

    monkeypatch.setattr(task, "evaluate", evaluate)
    level = task.check_task(pair, COUNT, lambda _share: None)
    assert level.passed is passed
    assert systems == ["fast-dllm-dual"] * 2
    assert level.data["engine"]["samples"] == level.data["reference"]["samples"] == COUNT
    assert level.data["engine"]["accuracy"] == 1 - len(wrong) / COUNT


@pytest.mark.parametrize("refused", range(COUNT))
def test_every_problem_is_to_be_served(pair: EnginePair, monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    problems = find_task("arithmetic").prompts(COUNT)
    unwanted = pair.subject.encode(problems[refused].question)

    def unserved(_model: Model, requests: list[Any]) -> str | None:
        assert {request.system for request in requests} == {SYSTEMS["fast-dllm-dual"]}
        texts = [request.canvas.tokens[: len(unwanted)].tolist() for request in requests]
        return "too long" if unwanted in texts else None

    monkeypatch.setattr(task, "unserved", unserved)
    level = task.check_task(pair, COUNT, lambda _share: None)
    assert level.lines == ["not applicable: fast-dllm-dual: too long"]
