from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dllm_edge import DllmEdgeError, Generation, Model, load
from dllm_edge.demo.task import held_out
from dllm_edge.runtime.evaluation.evaluate import evaluate, evaluate_together
from dllm_edge.runtime.evaluation.task import Problem, Task, find_task
from dllm_edge.runtime.scheduler.request import Request

SETTINGS: dict[str, Any] = {"gen_length": 16, "block_length": 8}
FIELDS = {
    *("system", "settings", "task", "samples", "accuracy", "generated_tokens", "forwards", "refresh_forwards"),
    *("tokens_per_forward", "seconds", "tokens_per_second", "engine_seconds", "host_seconds"),
    *("peak_cache_bytes", "steady_cache_bytes", "accuracy_low", "accuracy_high"),
}


@pytest.fixture(scope="module")
def model(tiny_bundle: Callable[..., Path]) -> Model:
    pytest.importorskip("torch", reason="a bundle is exported for this")
    return load(tiny_bundle("llada"), threads=1)


def test_the_embedded_task_scores_the_number() -> None:
    task, problem = find_task("arithmetic"), Problem("?", "", 35)
    assert task.score(problem, "Start: 23. 23 + 12 = 35. The answer is 35.")
    assert not task.score(problem, "The answer is 36.")
    assert not task.score(problem, "35")
    assert task.prompts(3) == held_out(3)


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(DllmEdgeError, match=r"unknown task 'chess': choose one of arithmetic"):
        find_task("chess")


def test_more_problems_than_there_are(model: Model) -> None:
    with pytest.raises(DllmEdgeError, match="5000 problems, 5001 were asked for"):
        evaluate(model, find_task("arithmetic"), "vanilla", 5001)


def test_evaluation_adds_up(model: Model) -> None:
    shares: list[float] = []
    found = evaluate(model, find_task("arithmetic"), "fast-dllm-dual", 3, shares.append, **SETTINGS)
    data = found.to_json()
    assert set(data) >= FIELDS
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert data["samples"] == len(found.correct) == len(found.generations) == 3
    assert data["forwards"] == sum(generation.forwards for generation in found.generations)
    assert data["generated_tokens"] == sum(len(generation.token_ids) for generation in found.generations)
    assert data["tokens_per_forward"] == pytest.approx(data["generated_tokens"] / data["forwards"])
    assert data["seconds"] == pytest.approx(data["engine_seconds"] + data["host_seconds"])
    assert data["accuracy_low"] <= data["accuracy"] <= data["accuracy_high"]
    assert data["settings"]["gen_length"] == 16
    assert "retention" not in data["settings"]
    assert data["peak_cache_bytes"] == data["steady_cache_bytes"] > 0


def test_a_batch_gives_the_same_tokens(model: Model) -> None:
    alone, together = (
        evaluate(model, find_task("arithmetic"), "fast-dllm-dual", 3, batch=batch, **SETTINGS) for batch in (1, 2)
    )
    assert [one.token_ids for one in alone.generations] == [one.token_ids for one in together.generations]
    assert alone.forwards == together.forwards


def test_each_problem_is_decoded_in_turn(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    decode = model.decode

    def noted(requests: Sequence[Request], max_batch: int = 8) -> list[Generation]:
        order.extend(request.system.name for request in requests)
        return decode(requests, max_batch)

    def prompts(count: int) -> list[Problem]:
        return [Problem(f"question {index}", "", index) for index in range(count)]

    monkeypatch.setattr(model, "decode", noted)
    task = Task("counting", "", 10, prompts, lambda problem, text: problem.answer == 1)
    runs: list[tuple[str, dict[str, Any]]] = [("vanilla", SETTINGS), ("fast-dllm-dual", {**SETTINGS, "unmask": "quota"})]
    found = evaluate_together(model, task, runs, 2)
    assert order == ["vanilla", "fast-dllm-dual"] * 2
    assert [evaluation.system for evaluation in found] == ["vanilla", "fast-dllm-dual"]
    assert [evaluation.settings.unmask for evaluation in found] == ["quota", "quota"]
    assert [evaluation.correct for evaluation in found] == [[False, True]] * 2


def test_settings_are_checked_before_anything_is_decoded(model: Model) -> None:
    shares: list[float] = []
    runs: list[tuple[str, dict[str, Any]]] = [("vanilla", SETTINGS), ("vanilla", {"retention": 0.5})]
    with pytest.raises(DllmEdgeError, match="vanilla has no setting 'retention'"):
        evaluate_together(model, find_task("arithmetic"), runs, 2, shares.append)
    assert not shares
