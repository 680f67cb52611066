"""Weights as integers of fewer bits: in the layers, then in LM head and embedding, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...graphs.errors import DllmEdgeError
from ...graphs.weight_formats import FORMAT_NAMES, GROUPS, WeightFormat, WeightFormats
from .changes import Variant
from .estimate import estimate
from .scenario import Scenario
from .target import Target

# Of the layers, LM head and embedding: the names that each may have at most; an embedding is never int4.
FORMAT_LIMITS = (
    ("int8", "plain", "plain"),
    ("int4", "plain", "plain"),
    ("int4", "int8", "int8"),
    ("int4", "int4", "int8"),
)


def smaller_formats(scenario: Scenario) -> Iterator[Variant]:
    """Yield variants whose weights take less memory than the present ones, each less than the one before."""
    precision = scenario.model.precision
    least = estimate(scenario).weight_bytes
    for limits in FORMAT_LIMITS:
        names = _narrowed(precision.formats, limits, scenario.target)
        if formats := _widest(names, scenario):
            variant = scenario.with_precision(replace(precision, formats=formats))
            if (weight_bytes := estimate(variant).weight_bytes) < least:
                least = weight_bytes
                yield Variant(_options(formats), variant)


def _narrowed(formats: WeightFormats, limits: tuple[str, ...], target: Target) -> list[str]:
    """Return the names of the formats within the limits, narrower ones where the target does not take them.

    An embedding has no DequantizeLinear: its int8 is taken everywhere.
    """
    present = [each.name for each in (formats.linear, formats.head, formats.embedding)]
    names = [max(pair, key=FORMAT_NAMES.index) for pair in zip(present, limits, strict=True)]
    matrices = ["int4" if name == "int8" and not target.takes(name) else name for name in names[:2]]
    return [*matrices, names[2]]


def _widest(names: Sequence[str], scenario: Scenario) -> WeightFormats | None:
    """Return the formats of these names in the largest groups that divide the model's weights; None where no group does."""
    choices = (WeightFormats(*(WeightFormat.named(name, group) for name in names)) for group in sorted(GROUPS, reverse=True))
    return next((formats for formats in choices if _divides(formats, scenario)), None)


def _divides(formats: WeightFormats, scenario: Scenario) -> bool:
    """Return whether the groups of `formats` divide the model's weights."""
    try:
        formats.check(scenario.model.config)
    except DllmEdgeError:
        return False
    return True


def _options(formats: WeightFormats) -> str:
    """Return the options of an export that give these formats."""
    options = f"--weights {formats.linear.name} --group {formats.linear.group}"
    outer = {"--head-weights": formats.head, "--embedding-weights": formats.embedding}
    return " ".join([options, *(f"{option} {each.name}" for option, each in outer.items() if each.quantised)])
