"""What quantisation changed, by tensor and by layer: a bundle's `reports/weights.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...graphs.weight_formats import WeightFormats
from ..json_file import read_object
from .quantisation_error import QuantisationError

WEIGHT_REPORT = "reports/weights.json"


def weight_report(errors: Mapping[str, QuantisationError], formats: WeightFormats) -> dict[str, Any]:
    """Return relative errors (Frobenius norms) by tensor and by layer, the worst of each, and the largest change by scale.

    `largest_change` is a share of the scale of the weight's group. The embedding and the LM head are layers of their own.
    """
    layers: dict[str, list[QuantisationError]] = {}
    for name, error in errors.items():
        layers.setdefault(_layer(name), []).append(error)
    by_layer = {layer: _together(own) for layer, own in layers.items()}
    by_tensor = {name: {"relative_error": error.relative, "largest_change": error.largest} for name, error in errors.items()}
    worst = max(errors, key=lambda name: errors[name].relative)
    return {
        "formats": formats.to_json(),
        "relative_error": _together(list(errors.values())),
        "worst_layer": max(by_layer, key=lambda layer: by_layer[layer]),
        "worst_tensor": worst,
        "layers": by_layer,
        "tensors": by_tensor,
    }


def read_weight_report(bundle: Path) -> dict[str, Any] | None:
    """Return the report of a bundle, or None where it has none: its weights are plain."""
    file = bundle / WEIGHT_REPORT
    return read_object(file) if file.is_file() else None


def _layer(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "layers" else parts[0]


def _together(errors: list[QuantisationError]) -> float:
    norm = sum(error.squared_norm for error in errors)
    return math.sqrt(sum(error.squared_change for error in errors) / norm) if norm else 0.0
