from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dllm_edge import DllmEdgeError, Generation, Model, load
from dllm_edge.demo.task import held_out
from dllm_edge.runtime.evaluation.conditions import conditions_of
from dllm_edge.runtime.evaluation.evaluate import evaluate, evaluate_together
from dllm_edge.runtime.evaluation.journal import Journal
from dllm_edge.runtime.evaluation.task import Problem, Task, find_task
from dllm_edge.runtime.scheduler.request import Request

SETTINGS: dict[str, Any] = {"gen_length": 16, "block_length": 8}
FIELDS = {
    *("system", "settings", "task", "samples", "accuracy", "generated_tokens", "forwards", "refresh_forwards"),
    *("tokens_per_forward", "seconds", "tokens_per_second", "engine_seconds", "host_seconds"),
    *("peak_cache_bytes", "steady_cache_bytes", "accuracy_low", "accuracy_high", "rows_sent"),
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
    assert data["samples"] == len(found.correct) == len(found.outcomes) == 3
    assert data["forwards"] == sum(outcome.forwards for outcome in found.outcomes)
    assert data["generated_tokens"] == sum(outcome.generated_tokens for outcome in found.outcomes)
    assert data["rows_sent"] == sum(outcome.rows_sent for outcome in found.outcomes) > data["forwards"]
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
    assert [one.text for one in alone.outcomes] == [one.text for one in together.outcomes]
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


RUNS: list[tuple[str, dict[str, Any]]] = [("vanilla", SETTINGS), ("fast-dllm-dual", SETTINGS)]


@pytest.mark.parametrize("batch", [1, 2])
def test_an_evaluation_that_was_ended_goes_on(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    decoded: list[str] = []
    decode, most = model.decode, 3

    def noted(requests: Sequence[Request], max_batch: int = 8) -> list[Generation]:
        if len(decoded) == most:
            raise KeyboardInterrupt
        decoded.append(requests[0].system.name)
        return decode(requests, max_batch)

    monkeypatch.setattr(model, "decode", noted)
    task, file = find_task("arithmetic"), tmp_path / "journal"
    with pytest.raises(KeyboardInterrupt):
        evaluate_together(model, task, RUNS, 2 * batch, batch=batch, journal=Journal(file))
    most, shares = 100, list[float]()
    found = evaluate_together(model, task, RUNS, 2 * batch, shares.append, batch=batch, journal=Journal(file))
    assert decoded == ["vanilla", "fast-dllm-dual"] * 2
    assert shares == [0.75, 1.0]
    again = evaluate_together(model, task, RUNS, 2 * batch, shares.append, batch=batch, journal=Journal(file))
    assert [one.to_json() for one in again] == [one.to_json() for one in found]
    assert (len(decoded), shares[2:]) == (4, [1.0])


CHANGES: dict[str, dict[str, Any]] = {
    "setting": {"settings": {**SETTINGS, "threshold": 0.5}},
    "system": {"system": "fast-dllm-prefix"},
    "seed": {"seed": 1},
    "batch": {"batch": 2},
    "task": {"task": "other"},
    "bundle": {"conditions": {"bundle": "other"}},
    "nothing": {},
}


@pytest.mark.parametrize("changed", CHANGES)
def test_what_has_changed_is_decoded_anew(model: Model, tmp_path: Path, changed: str) -> None:
    def run(system: str = "fast-dllm-dual", task: str = "counting", **options: Any) -> list[float]:
        shares: list[float] = []
        journal = Journal(tmp_path / "journal", options.pop("conditions", {"bundle": "this"}))
        asked = Task(task, "", 10, find_task("arithmetic").prompts, lambda problem, text: True)
        settings = {"unmask": "threshold", **options.pop("settings", SETTINGS)}
        evaluate_together(model, asked, [(system, settings)], 2, shares.append, journal=journal, **options)
        return shares

    run()
    assert run(**CHANGES[changed])[0] == (1.0 if changed == "nothing" else 0.0)


def test_problems_that_were_decoded_are_not_when_there_are_more(model: Model, tmp_path: Path) -> None:
    shares: list[float] = []
    for limit in (2, 4):
        journal = Journal(tmp_path / "journal")
        evaluate_together(model, find_task("arithmetic"), RUNS, limit, shares.append, journal=journal)
    assert shares[5] == 0.5


def test_conditions_are_the_bundle_the_engine_and_the_code(model: Model) -> None:
    found = conditions_of(model, threads=1)
    assert found["bundle"] == model.bundle.manifest.sha256
    assert found != conditions_of(model, threads=2)
    assert {"onnxruntime"} <= set(found["engine"][2])
