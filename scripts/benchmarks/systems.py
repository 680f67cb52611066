"""Every system with every rule against vanilla decoding at one token a step, on the same problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from ...runtime.evaluation.evaluate import evaluate_together
from ...runtime.evaluation.evaluation import Evaluation
from ...runtime.evaluation.intervals import paired_difference
from ...runtime.evaluation.task import find_task
from .finding import Finding, Part
from .setup import Progress, Setup, within

TASK = find_task("arithmetic")
SYSTEMS = ("vanilla", "fast-dllm-prefix", "fast-dllm-dual", "sparse-dllm")
RULES: tuple[dict[str, Any], ...] = (
    {"unmask": "quota"},
    {"unmask": "threshold", "threshold": 0.9},
    {"unmask": "factor", "factor": 1.0},
)
RUNS = [(system, rule) for system in SYSTEMS for rule in RULES]
HEADLINE = RUNS.index(("fast-dllm-dual", RULES[1]))
GEN_LENGTHS, NATIVE_LENGTH = (128, 256), 64
# Problems for what does not depend on them but by the length of their prompts.
SAMPLES = 3
LEAST_SPEEDUP, LARGEST_LOSS = 10.0, 0.01


def measure_systems(setup: Setup, progress: Progress) -> Part:
    """Make a table for each generation length with and without early stop; the others are held against its first row."""
    part = Part(
        "systems", f"systems and rules on {setup.paired} paired problems, against vanilla with quota (one token a step)"
    )
    part.data["tables"] = []
    settings = [(length, early) for length in GEN_LENGTHS for early in (False, True)]
    for index, (length, early) in enumerate(settings):
        runs = [(system, {**rule, "gen_length": length, "early_stop": early}) for system, rule in RUNS]
        evaluations = evaluate_together(setup.model, TASK, runs, setup.paired, within(progress, index, len(settings)))
        title = f"{length} tokens, early stop {'on' if early else 'off'}"
        part.tables.append(_table(title, evaluations))
        part.data["tables"].append(_data(length, early, evaluations))
        if length == max(GEN_LENGTHS):
            speed = evaluations[0].seconds / evaluations[HEADLINE].seconds
            solved = f"solving {evaluations[HEADLINE].accuracy:.0%}, vanilla {evaluations[0].accuracy:.0%}"
            name = f"dual, threshold 0.9: speed-up at {title}, {solved}"
            part.findings.append(Finding.at_least(name, speed, LEAST_SPEEDUP))
    return part


def measure_accuracy(setup: Setup, progress: Progress) -> Part:
    """Hold the dual cache with threshold 0.9 against vanilla with quota at the native length, problem by problem."""
    runs = [(system, {**rule, "gen_length": NATIVE_LENGTH}) for system, rule in (RUNS[0], RUNS[HEADLINE])]
    evaluations = evaluate_together(setup.model, TASK, runs, setup.problems, progress)
    difference = paired_difference(evaluations[1].correct, evaluations[0].correct)
    part = Part("accuracy", f"accuracy on {setup.problems} held-out problems at {NATIVE_LENGTH} tokens")
    close = abs(difference.difference) <= LARGEST_LOSS
    points = f"{100 * difference.difference:+.1f} points ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"
    part.findings = [
        *(_accuracy(evaluation) for evaluation in evaluations),
        Finding("difference, dual less vanilla", difference.difference, points, "within 1 point", close),
    ]
    part.data = {"evaluations": [evaluation.to_json() for evaluation in evaluations], "difference": difference.to_json()}
    return part


def _accuracy(evaluation: Evaluation) -> Finding:
    low, high = evaluation.interval
    name = f"{evaluation.system}, {evaluation.settings.unmask}"
    return Finding(name, evaluation.accuracy, f"{evaluation.accuracy:.1%} ({100 * low:.1f} to {100 * high:.1f})")


def measure_sparse(setup: Setup, progress: Progress) -> Part:
    """Compare the cache of Sparse-dLLM at retention 0.5 with the dual cache's, by their buffers."""
    part = Part("sparse", "cache of Sparse-dLLM at retention 0.5 beside the dual cache's")
    for length in GEN_LENGTHS:
        runs = [(system, {**RULES[0], "gen_length": length}) for system in ("fast-dllm-dual", "sparse-dllm")]
        dual, sparse = evaluate_together(setup.model, TASK, runs, SAMPLES, progress)
        steady, peak = sparse.steady_cache_bytes / dual.steady_cache_bytes, sparse.peak_cache_bytes / dual.peak_cache_bytes
        part.findings += [
            Finding.at_most(f"block steps, {length} tokens", steady, 0.55),
            Finding(f"peak (the refresh needs the whole), {length} tokens", peak, f"{peak:.2f}x"),
        ]
        part.data[str(length)] = {
            evaluation.system: {"steady": evaluation.steady_cache_bytes, "peak": evaluation.peak_cache_bytes}
            for evaluation in (dual, sparse)
        }
    return part


def _table(title: str, evaluations: Sequence[Evaluation]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("system", no_wrap=True)
    table.add_column("rule")
    for column in ("accuracy", "tokens/\nforward", "tokens/\nsecond", "speed"):
        table.add_column(column, justify="right")
    for evaluation in evaluations:
        table.add_row(
            evaluation.system,
            evaluation.settings.unmask,
            f"{evaluation.accuracy:.0%}",
            f"{evaluation.tokens_per_forward:.2f}",
            f"{evaluation.tokens_per_second:.1f}",
            f"{evaluations[0].seconds / evaluation.seconds:.2f}x",
        )
    return table


def _data(length: int, early_stop: bool, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    base = evaluations[0]
    return {
        "gen_length": length,
        "early_stop": early_stop,
        "systems": [
            evaluation.to_json()
            | {
                "speed": base.seconds / evaluation.seconds,
                "accuracy_difference": paired_difference(evaluation.correct, base.correct).to_json(),
            }
            for evaluation in evaluations
        ],
    }
