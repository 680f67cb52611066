"""Parity level 2: the same inputs and caches through the reference and through each graph of the subject, layer by layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...graphs import contract
from ...graphs.config import ModelConfig
from ...graphs.contract import Profile
from ...graphs.dtypes import DTYPES, DType
from ...runtime.arrays import Array
from ...runtime.engines.host import FIRST_PAST
from .differences import TOLERANCES, first_bad, relative_difference
from .examples import SEED, example
from .report import Level
from .runner import LayerFinding, Pair, StepComparison, StepRunner

# Equal logits may come in another order; `topk_log_probs` holds what they amount to.
NOT_COMPARED = "topk_ids"


def check_layers(pair: Pair, progress: Callable[[float], None]) -> Level:
    """Compare keys and values of every layer and the head's outputs, in each of the pair's graphs."""
    level, findings = Level("layers", True, []), list[LayerFinding]()
    comparisons = pair.comparisons()
    for index, comparison in enumerate(comparisons):
        progress(index / len(comparisons))
        if comparison.not_run:
            level.lines.append(f"{comparison.label}: not run, {comparison.not_run}")
            continue
        finding = compare(comparison, pair.run_reference, pair.bundle.config)
        findings.append(finding)
        level.lines.append(_line(finding))
    level.passed = all(finding.first_bad is None for finding in findings)
    level.data = pair.layers_json(findings)
    return level


def compare(comparison: StepComparison, reference: StepRunner, config: ModelConfig) -> LayerFinding:
    """Run one graph and the reference on random inputs at each of the profiles, and keep each output's largest difference."""
    runner, generator = comparison.open_runner(), np.random.default_rng(SEED)
    differences: dict[str, float] = {}
    for profile in comparison.profiles:
        inputs = random_inputs(config, profile, comparison.compute_dtype, generator)
        wanted, actual = reference(inputs), runner(inputs)
        assert wanted.keys() == actual.keys(), wanted.keys() ^ actual.keys()
        for name in (name for name in wanted if name != NOT_COMPARED):
            differences[name] = max(differences.get(name, 0.0), relative_difference(actual[name], wanted[name]))
    worst = max(differences, key=lambda name: differences[name])
    bad = first_bad(differences, TOLERANCES[comparison.compute_dtype])
    return LayerFinding(comparison, worst, differences[worst], bad)


def random_inputs(
    config: ModelConfig, profile: Profile, compute_dtype: DType, generator: np.random.Generator
) -> dict[str, Array]:
    """Return random inputs by name, the caches rounded as the subject holds them, so that their rounding does not count."""
    specs = contract.inputs(config, "float32")
    arrays = example(specs, profile, config.vocab_size, generator)
    caches = [array.astype(DTYPES[compute_dtype].numpy).astype(np.float32) for array in arrays[FIRST_PAST:]]
    return {spec.name: array for spec, array in zip(specs, arrays[:FIRST_PAST] + caches, strict=True)}


def _line(finding: LayerFinding) -> str:
    comparison = finding.comparison
    allowed = f"{TOLERANCES[comparison.compute_dtype]:.1e}"
    verdict = f"{comparison.label}: largest difference {finding.difference:.1e} at {finding.worst} (allowed {allowed})"
    return verdict + (f"; first bad output {finding.first_bad}" if finding.first_bad else "")
