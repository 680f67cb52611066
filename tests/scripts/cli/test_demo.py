from __future__ import annotations

from pathlib import Path

import pytest

from dllm_edge.demo.task import held_out
from dllm_edge.scripts.cli import demo

from ..conftest import Command, parsed


@pytest.fixture(autouse=True)
def _small(demo_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "QUESTIONS", 2)
    monkeypatch.setattr(demo, "VALIDATED_QUESTIONS", 2)


def test_demo_does_the_main_job(command: Command) -> None:
    code, out, err = command("demo", "--json")
    data = parsed(out)
    assert code == 0
    assert data["validation"]["passed"] is True
    assert [level["name"] for level in data["validation"]["levels"]] == ["structure", "layers", "trajectory", "task"]
    names = ["vanilla", "fast-dllm-prefix", "fast-dllm-dual", "sparse-dllm"]
    assert [system["system"] for system in data["systems"]] == names
    assert [question["answer"] for question in data["questions"]] == [problem.answer for problem in held_out(2)]
    assert [decode["system"] for decode in data["questions"][0]["decodes"]] == names
    assert "validate: layers" in err

    code, out, err = command("demo")
    assert code == 0
    assert "exporting" not in err
    assert all(problem.question.split(".")[0] in out for problem in held_out(2))
    assert out.count("answer wrong") == 8, "random weights solve nothing"
    assert out.count("threshold") >= 3, "every row names its rule"
    assert "layers holds" in out
