from __future__ import annotations

from collections import Counter
from pathlib import Path

import dllm_edge

from .sample import FOLDERS, sample, sample_of

ROOT = Path(dllm_edge.__file__).resolve().parent
SOURCE = "\n".join(f"x{index} = a{index} + b{index} < f(c{index}, d{index})" for index in range(40)).encode()


def test_the_packages_own_sample_is_large_and_of_every_kind() -> None:
    mutants = sample(ROOT, every=20, seed=1)
    assert len(mutants) >= 200
    assert {mutant.file.split("/")[0] for mutant in mutants} == set(FOLDERS)
    assert len({mutant.operator for mutant in mutants}) >= 10
    assert len({(mutant.file, mutant.line) for mutant in mutants}) == len(mutants)


def test_a_share_of_a_file_spread_over_its_operators_and_lines() -> None:
    chosen = [mutant for _, mutant in sample_of("a.py", SOURCE, every=10, seed=1)]
    assert len(chosen) == 12  # of 120
    counts = Counter(mutant.operator for mutant in chosen)
    assert counts.keys() == {"arithmetic", "comparison", "swapped arguments"}
    assert min(counts.values()) >= 3
    assert len({mutant.line for mutant in chosen}) == 12


def test_other_seeds_draw_others_and_a_line_more_draws_the_same() -> None:
    draws = [
        {mutant.lines(source)[1] for _, mutant in sample_of("a.py", source, every=10, seed=seed)}
        for source, seed in ((SOURCE, 1), (SOURCE, 1), (b"# begin\n" + SOURCE, 1), (SOURCE, 2))
    ]
    assert draws[0] == draws[1] == draws[2] != draws[3]


def test_one_at_least() -> None:
    assert len(sample_of("a.py", b"x = 1", every=1000, seed=1)) == 1
    assert sample_of("a.py", b"x = y", every=1000, seed=1) == []
