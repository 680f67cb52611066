"""One step over joined weights against the same step over weights apart, on ONNX Runtime's CPU provider."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from ...export.bundle import export_bundle
from ...graphs.contract import Profile
from ...runtime.bundle.bundle import Bundle
from ...runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from .finding import Finding, Part
from .setup import Progress, Setup, within
from .step import filled

FORMATS = ("plain", "int8", "int4")
THREADS, ROWS, CAPACITY = (1, 2), (1, 32, 128), 256
WARM_UP, ROUNDS = 3, 30
QUARTILES = (0.25, 0.5, 0.75)


def measure_joined(setup: Setup, progress: Progress) -> Part:
    """Run both in turn; a ratio is that of the two steps of a round, so that what else the machine does meets both."""
    part = Part("joined", f"a step over weights apart / over joined ones, 135M shape, median of {ROUNDS} rounds (quartiles)")
    part.data["ratios"] = {}
    for index, weights in enumerate(FORMATS):
        stretch = within(progress, index, len(FORMATS))
        bundles = [_bundle(setup, weights, join) for join in (False, True)]
        for number, threads in enumerate(THREADS):
            stretch(number / len(THREADS))
            for rows, ratios in _ratios(bundles, threads).items():
                name = f"{'float32' if weights == 'plain' else weights}, {rows} rows, {threads} threads"
                low, middle, high = np.quantile(ratios, QUARTILES)
                part.findings.append(Finding(name, float(middle), f"{middle:.3f} ({low:.3f} to {high:.3f})"))
                part.data["ratios"][name] = ratios
    return part


def _bundle(setup: Setup, weights: str, join: bool) -> Bundle:
    path = Path(setup.folder.name) / f"{weights}-{'joined' if join else 'apart'}"
    return export_bundle(setup.shaped_checkpoint, path, dtype="float32", weights=weights, head_weights=weights, join=join)


def _ratios(bundles: list[Bundle], threads: int) -> dict[int, list[float]]:
    """Return by the rows of a step the time of the first bundle's over that of the second's, round by round."""
    engines = [OnnxRuntimeEngine(bundle, threads) for bundle in bundles]
    ratios: dict[int, list[float]] = {}
    for rows in ROWS:
        profile = Profile(1, rows, CAPACITY, rows)
        caches = [filled(engine, profile) for engine in engines]
        seconds = np.zeros((WARM_UP + ROUNDS, len(engines)))
        for turn, index in np.ndindex(seconds.shape):
            started = time.perf_counter()
            engines[index].run(profile, caches[index])
            seconds[turn, index] = time.perf_counter() - started
        apart, joined = seconds[WARM_UP:].T
        ratios[rows] = (apart / joined).tolist()
    return ratios
