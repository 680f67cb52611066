"""Time and memory of exporting a large checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import gettempdir

from .bench_export import bench_export
from .finding import Finding, Part
from .setup import Setup, Tell

LARGEST_MEMORY, LARGEST_SECONDS = 2e9, 300.0


def measure_export(setup: Setup, tell: Tell) -> Part:
    part = Part("export", f"export of a random LLaDA checkpoint of scale {setup.export_scale}")
    measurements = bench_export(setup.export_scale, Path(gettempdir()))
    for found in measurements:
        part.findings += [
            Finding.at_most(f"{found.mode}: seconds", found.seconds, LARGEST_SECONDS, " s"),
            Finding.at_most(
                f"{found.mode}: peak anonymous memory", found.peak_anonymous_bytes / 1e9, LARGEST_MEMORY / 1e9, " GB"
            ),
            Finding(f"{found.mode}: written", found.written_bytes, f"{found.written_bytes / 1e9:.2f} GB"),
        ]
    part.data = {"measurements": [asdict(found) for found in measurements]}
    return part
