from __future__ import annotations

from dllm_edge.scripts.benchmarks.finding import Finding


def test_findings_are_held_against_their_targets() -> None:
    assert [Finding.at_least("", value, 1.8).met for value in (1.79, 1.8)] == [False, True]
    assert [Finding.at_most("", value, 1.3).met for value in (1.3, 1.31)] == [True, False]
