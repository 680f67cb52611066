from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.scheduler import batch
from dllm_edge.scripts.benchmarks import host_cost
from dllm_edge.scripts.benchmarks.host_cost import decode, host_microseconds, measure_host_cost
from dllm_edge.scripts.benchmarks.idle_engine import CANDIDATES, Copies, CountedArray, CountingEngine, IdleEngine

BLOCK, BLOCKS = 32, 8


@pytest.fixture
def config(tiny_bundle: Callable[..., Path]) -> ModelConfig:
    return Bundle.open(tiny_bundle("llada")).config


def test_only_changed_inputs_are_written(config: ModelConfig) -> None:
    """Between two steps of a block nothing changes but the ids of its tokens; a step copies its four outputs."""
    engine = CountingEngine(config)
    decode(engine, "quota")
    steps = BLOCKS * (BLOCK - 1)
    assert [len(log) for log in (engine.written, engine.copied)] == [steps, steps]
    assert [copies.nbytes for copies in engine.written].count(8 * BLOCK) >= steps - 2 * BLOCKS
    assert {(copies.count, copies.nbytes) for copies in engine.copied} == {(4, BLOCK * (CANDIDATES * (8 + 4) + 2 * 4))}


def test_all_inputs_can_be_written_again(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def masks(rewrite: bool) -> int:
        filled: list[int] = []
        monkeypatch.setattr(batch, "_fill_mask", lambda *arguments: filled.append(1))
        decode(IdleEngine(config, rewrite), "quota")
        return len(filled)

    assert masks(True) == BLOCKS * BLOCK
    assert masks(False) < BLOCKS * BLOCK // 2


def test_time_is_of_block_steps_alone(config: ModelConfig) -> None:
    engine = IdleEngine(config)
    decode(engine, "quota")
    assert len(engine.gaps) == BLOCKS * (BLOCK - 2)
    assert 1 < host_microseconds(config, "threshold") < 1e5


def test_findings(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_cost, "ROUNDS", 1)
    found = {finding.name: finding for finding in measure_host_cost(config)}
    assert found["arrays written to inputs"].text.startswith(f"1, {8 * BLOCK} bytes")
    assert found["arrays copied from outputs"].value == 4
    assert found["memory that a step allocates, at its peak"].value > BLOCK * CANDIDATES * (8 + 4)
    assert found["host alone, quota, median of a step"].target == "at most 84 us"


def test_views_count_for_their_array() -> None:
    counted = np.zeros((2, 8), dtype=np.int64).view(CountedArray)
    counted.copies = Copies()
    row = counted[1]
    row[:4] = 7
    plain = row.copy()
    assert (counted.copies.count, counted.copies.nbytes) == (2, 4 * 8 + 8 * 8)
    assert type(plain) is np.ndarray
    assert counted.sum() == plain.sum() == 28
