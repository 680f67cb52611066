from __future__ import annotations

from collections.abc import Sequence

import pytest
from rich.console import Console

from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.evaluation.evaluation import Evaluation
from dllm_edge.runtime.evaluation.outcome import Outcome
from dllm_edge.runtime.systems import SYSTEMS
from dllm_edge.runtime.unmasking import RULES
from dllm_edge.scripts.cli.bench.compositions import COMBINED
from dllm_edge.scripts.cli.terminal.evaluation_table import EvaluationTable, Row, columns_of, markdown, rounded

NAMES = [*SYSTEMS, *COMBINED]


def evaluation(system: str = "vanilla", unmask: str = "quota", seconds: float = 8.0, peak: int = 0) -> Evaluation:
    """Of 500 problems with 255 tokens each, in the numbers of a long bench."""
    outcome = Outcome("", "stop", 255, 512, 32, 360_000, seconds, 0.1, peak // 2, peak)
    return Evaluation("arithmetic", system, Settings(unmask=unmask, gen_length=512), [True] * 500, [outcome] * 500)


def printed(rows: Sequence[Row], width: int) -> str:
    console = Console(width=width, markup=False)
    with console.capture() as capture:
        console.print(EvaluationTable(rows, "title"))
    return capture.get()


CELLS = ("100.0%", "(99-100)", "0.50", "3493.2", "256000", "16000", "180.0M", "109.59x", "12345", "128.4 MB", "(256.8 MB)")


@pytest.mark.parametrize("label", NAMES)
@pytest.mark.parametrize("unmask", RULES)
def test_large_numbers_fit_80_columns(label: str, unmask: str) -> None:
    text = printed([Row(label, evaluation(label.partition(":")[0], unmask, 0.073, 256_800_000), 109.59, 12345.0)], 80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    words = text.split()
    for cell in (*label.split(":"), unmask):
        assert cell in words
    assert all(cell in text for cell in CELLS)
    assert len(text.splitlines()) <= 7 + label.count(":")


def test_a_wide_terminal_has_a_line_for_each() -> None:
    text = printed([Row(label, evaluation(peak=256_800_000), 1.0, 2.0) for label in NAMES], 220)
    assert len(text.splitlines()) == 3 + len(NAMES)
    assert all(label in text.split() for label in NAMES)
    assert "tokens/forward" in text


def test_what_no_row_has_is_no_column() -> None:
    assert [name for name, _ in columns_of([Row("vanilla", evaluation())])] == [
        *("system", "rule", "accuracy", "95% interval", "tokens/forward", "tokens/s"),
        *("forwards", "refreshes", "rows sent", "cache"),
    ]


def test_markdown_has_all_of_it() -> None:
    rows = [
        Row("vanilla", evaluation(), 1.0, 80.0),
        Row("saber", evaluation("saber", "saber", 4.0, 512_000), 2.0, 90.0, "3.5x (code)"),
    ]
    header, rule, *lines = markdown(rows).splitlines()
    assert header == (
        "| system | rule | accuracy | 95% interval | tokens/forward | tokens/s | forwards | refreshes | rows sent | speed "
        "| AUP | cache | at its peak | its paper's speed |"
    )
    assert rule.count("---") == header.count("|") - 1
    assert lines[0] == (
        "| `vanilla` | quota | 100.0% | (99-100) | 0.50 | 31.9 | 256000 | 16000 | 180.0M | 1.00x | 80 | none |  |  |"
    )
    assert lines[1].endswith("| 2.00x | 90 | 256.0 kB | (512.0 kB) | 3.5x (code) |")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (9_999, "9999"), (43_100, "43.1k"), (180_000_000, "180.0M"), (1_250_000_000, "1.2G")],
)
def test_counts(count: int, text: str) -> None:
    assert rounded(count) == text
