from __future__ import annotations

import os
from pathlib import Path

import pytest

from dllm_edge.scripts.benchmarks.export import anonymous_bytes, measure_export
from dllm_edge.scripts.benchmarks.setup import Setup

pytest.importorskip("torch", reason="checkpoints are exported")


def test_an_export_that_links_writes_less(tmp_path: Path) -> None:
    setup = Setup(tmp_path, threads=1, paired=1, problems=1, export_scale="tiny")
    shares: list[float] = []
    with setup.folder as folder:
        part = measure_export(setup, shares.append)
        assert not any(Path(folder).iterdir())
    link, write = part.data["measurements"]
    assert (link["mode"], write["mode"]) == ("link", "write")
    # All of the weights, but that graphs over linked ones are larger: they have more products.
    assert 0.95 * link["checkpoint_bytes"] <= write["written_bytes"] - link["written_bytes"]
    for measurement in (link, write):
        assert 0 < measurement["weights_seconds"] + measurement["graphs_seconds"] < measurement["seconds"]
        assert measurement["peak_anonymous_bytes"] > 10e6
    assert [finding.met for finding in part.findings if finding.target] == [True] * 4
    assert shares == [0.25, 0.75]


def test_a_process_that_has_ended_takes_no_memory() -> None:
    assert anonymous_bytes(os.getpid()) > 0
    assert anonymous_bytes(2**22 + 1) == 0
