"""Resident memory of a decode, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

from ...runtime.bundle.bundle import WEIGHTS
from . import decode_once
from .finding import Finding, Part
from .setup import Progress, Setup

CACHED = 512
ALLOWED_SHARE, ALLOWED_EXTRA = 1.3, 300e6


def measure_memory(setup: Setup, progress: Progress) -> Part:
    """Measure the peak resident memory of a float32 decode at `CACHED` slots against its weights and caches."""
    bundle = setup.shaped
    progress(0.5)
    command = [sys.executable, "-m", decode_once.__name__, str(bundle.path), str(CACHED)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, caches = json.loads(done.stdout)
    weights = sum(record.size for name, record in bundle.manifest.files.items() if name.startswith(WEIGHTS))
    allowed = ALLOWED_SHARE * (weights + caches) + ALLOWED_EXTRA
    part = Part("memory", f"resident memory of a float32 decode, 135M shape, {CACHED} cached")
    part.findings = [
        Finding("weights", weights, f"{weights / 1e6:.0f} MB"),
        Finding("caches", caches, f"{caches / 1e6:.1f} MB"),
        Finding("peak resident memory", peak, f"{peak / 1e6:.0f} MB", f"at most {allowed / 1e6:.0f} MB", peak <= allowed),
        Finding.at_most("(peak - 300 MB) / (weights + caches)", (peak - ALLOWED_EXTRA) / (weights + caches), ALLOWED_SHARE),
    ]
    part.data = {"peak_resident_bytes": peak, "weight_bytes": weights, "cache_bytes": caches, "allowed_bytes": allowed}
    return part
