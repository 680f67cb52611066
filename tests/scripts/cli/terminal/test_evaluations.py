from __future__ import annotations

from rich.console import Console

from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.evaluation.evaluate import Evaluation
from dllm_edge.runtime.generate import Generation
from dllm_edge.scripts.cli.terminal.evaluations import evaluation_table

SETTINGS = Settings(unmask="threshold", gen_length=256)


def generation(peak: int) -> Generation:
    return Generation("", [1] * 255, [], "stop", "fast-dllm-prefix", SETTINGS, 8, 8, 0.1, 0.1, 128_400_000, peak, [])


def test_a_table_of_large_numbers_fits_80_columns() -> None:
    rows = [
        Evaluation("arithmetic", "vanilla", Settings(), [True] * 500, [generation(0)] * 500, 4000.0),
        Evaluation("arithmetic", "fast-dllm-prefix", SETTINGS, [True] * 500, [generation(256_800_000)] * 500, 36.5),
    ]
    console = Console(width=80)
    with console.capture() as capture:
        console.print(evaluation_table(rows, "title"))
    text = capture.get()
    assert "…" not in text
    for cell in ("fast-dllm-prefix", "threshold", "quota", "100.0% (99-100)", "31.88", "3493.2", "109.59x", "(256.8 MB)"):
        assert cell in text
