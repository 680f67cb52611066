"""Level 3 tells rounding from error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from dllm_edge.export.parity import trajectory
from dllm_edge.export.parity.decodes import prompts, whole_decodes
from dllm_edge.export.parity.reference import reference_step
from dllm_edge.export.parity.torch_engine import TorchEngine
from dllm_edge.export.parity.torch_pair import TorchPair
from dllm_edge.export.parity.trajectory import Difference, check_decodes, check_trajectory, first_difference
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.decoding.changes import Commit
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.trace import Choice, StepTrace
from dllm_edge.runtime.engines.base import Engine
from dllm_edge.runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from dllm_edge.runtime.scheduler.rehearsal import Use
from dllm_edge.runtime.systems import SYSTEMS, fitting_systems

SETTINGS = Settings(gen_length=16, block_length=8, unmask="threshold", threshold=0.02, early_stop=False)
PROMPTS = ([7, 8, 9], [20, 21, 22, 23, 24])


def trace(committed: dict[int, int], probabilities: list[float], margins: list[float], forward: int = 1) -> StepTrace:
    """A step that predicts positions 10, 11, ..., by a rule with a gate at 0.9."""
    positions, ids = np.array(list(committed), np.int64), np.array(list(committed.values()), np.int64)
    commit = Commit(positions, ids, np.zeros(positions.size, np.float32))
    predicts = np.arange(10, 10 + len(probabilities))
    best = np.full(len(probabilities), 5)
    scores = np.array(probabilities, np.float32)
    choice = Choice(predicts, scores, [0.9])
    sent = (predicts, predicts, predicts, best, scores, np.array(margins, np.float32))
    return StepTrace(forward, "full", "main", 1, *sent, [commit], [choice], 0.0)


@pytest.mark.parametrize(
    ("theirs", "probabilities", "margins", "rounding"),
    [
        ({10: 6}, [0.8, 0.5], [1.0, 1.0], False),  # another token where the best two logits are far apart
        ({10: 6}, [0.8, 0.5], [5e-5, 1.0], True),  # and where they are not
        ({11: 5}, [0.80004, 0.8], [1.0, 1.0], True),  # another position of nearly the same probability
        ({11: 5}, [0.81, 0.8], [1.0, 1.0], False),
        ({10: 5, 11: 5}, [0.95, 0.89995], [1.0, 1.0], True),  # one more, at the threshold
        ({10: 5, 11: 5}, [0.95, 0.89], [1.0, 1.0], False),
    ],
)
def test_a_difference_is_rounding_only_at_a_close_decision(
    theirs: dict[int, int], probabilities: list[float], margins: list[float], rounding: bool
) -> None:
    found = first_difference([trace({10: 5}, probabilities, margins)], [trace(theirs, probabilities, margins)])
    assert found is not None
    assert found.rounding is rounding


def test_the_first_difference_counts() -> None:
    same, other = trace({10: 5}, [0.9, 0.1], [1, 1]), trace({11: 7}, [0.9, 0.1], [1, 1], forward=2)
    assert first_difference([same, same], [same, same]) is None
    found = first_difference([same, trace({11: 5}, [0.9, 0.1], [1, 1], forward=2)], [same, other])
    assert (found.forward, found.position) == (2, 11) if found else False
    assert first_difference([same], [same, other]) == Difference(2, -1, np.inf, np.inf)


@pytest.mark.parametrize("family", ["llada", "dream"])
def test_whole_decodes_agree(tiny_bundle: Callable[..., Path], family: str) -> None:
    bundle = Bundle.open(tiny_bundle(family))
    engines = OnnxRuntimeEngine(bundle, threads=1), TorchEngine(reference_step(bundle))
    uses = [(system, SETTINGS) for system in fitting_systems(bundle.config)]
    assert {system.name for system, _ in uses} == set(SYSTEMS)
    level = check_decodes(*engines, PROMPTS, uses, lambda _share: None)
    assert level.passed
    assert [run["equal"] for run in level.data["runs"]] == [len(PROMPTS)] * len(uses)


def test_a_wrong_engine_fails(tiny_bundle: Callable[..., Path]) -> None:
    bundle = Bundle.open(tiny_bundle("llada"))
    step = reference_step(bundle)
    with torch.no_grad():
        step.transformer.lm_head.weight.copy_(step.transformer.lm_head.weight.flip(0))
    level = check_decodes(
        OnnxRuntimeEngine(bundle, threads=1), TorchEngine(step), PROMPTS, [(SYSTEMS["vanilla"], SETTINGS)], lambda _share: None
    )
    assert not level.passed
    assert "NOT rounding" in level.lines[0]


@pytest.mark.parametrize("wrong", range(6))
def test_every_decode_counts(tiny_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, wrong: int) -> None:
    """Three systems after two prompts: one decode alone is wrong, the others differ by rounding."""
    decodes, engine = count(), OnnxRuntimeEngine(Bundle.open(tiny_bundle("llada")), threads=1)
    monkeypatch.setattr(trajectory, "decode", lambda *_: [])
    wide, close = Difference(1, 10, 1.0, 1.0), Difference(1, 10, 0.0, 0.0)
    monkeypatch.setattr(trajectory, "first_difference", lambda *_: wide if next(decodes) == wrong else close)
    level = check_decodes(engine, engine, PROMPTS, [(SYSTEMS["vanilla"], SETTINGS)] * 3, lambda _share: None)
    assert not level.passed
    assert ["NOT rounding" in line for line in level.lines] == [use == wrong // 2 for use in range(3)]
    verdicts = ["FAILS, 0 of 2" if use == wrong // 2 else "holds, 2 of 2 decodes differ by rounding only" for use in range(3)]
    assert all(verdict in line for verdict, line in zip(verdicts, level.lines, strict=True))
    rounding = [difference["rounding"] for run in level.data["runs"] for difference in run["differences"]]
    assert rounding == [decode != wrong for decode in range(6)]


def test_all_prompts_and_all_served_decodes_are_compared(
    tiny_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, compared = TorchPair(tiny_bundle("llada")), list[tuple[int, str, str]]()

    def decode(_engine: Engine, prompt: Sequence[int], use: Use) -> list[StepTrace]:
        compared.append((len(prompt), use[0].name, use[1].unmask))
        return []

    monkeypatch.setattr(trajectory, "decode", decode)
    assert check_trajectory(pair, lambda _share: None).passed
    lengths = [len(prompt) for prompt in prompts(pair.subject)]
    assert len(lengths) == 3
    wanted = [(length, system.name, rule) for system, rule in whole_decodes(pair.subject) for length in lengths]
    assert compared[::2] == compared[1::2] == wanted
