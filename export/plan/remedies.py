"""What would fit where a scenario does not: one change at a time, and where none is enough, as few together as are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from ...runtime.engines.support import level_of
from .changes import (
    Change,
    fused_flavour,
    lower_retention,
    narrower_dtype,
    shorter_context,
    smaller_batch,
    smaller_block,
)
from .devices import GB
from .estimate import Estimate, estimate
from .scenario import Scenario
from .smaller_formats import smaller_formats

SWAP = "--swap"
# What changes the answers least comes first.
CHANGES: tuple[Change, ...] = (
    narrower_dtype,
    fused_flavour,
    smaller_formats,
    smaller_batch,
    lower_retention,
    smaller_block,
    shorter_context,
)


@dataclass(frozen=True)
class Remedy:
    """`options` are what to add or to change, `estimate` is the memory that they lead to."""

    options: str
    estimate: Estimate

    @property
    def adds_swap(self) -> bool:
        """Whether a build will fill more swap."""
        return SWAP in self.options

    def __str__(self) -> str:
        """Say the options, and the phase that is tightest then."""
        tightest = max(reversed(self.estimate.phases), key=lambda each: each.share)
        need, limit = tightest.needed_bytes / GB, tightest.limit_bytes / GB
        return f"{self.options}: {tightest.phase} takes {need:.1f} of {limit:.1f} GB"


def remedies(scenario: Scenario) -> list[Remedy]:
    """Return the mildest variant of each kind of change that fits alone; else as few kinds together as fit; else none."""
    if scenario.target.limit_bytes <= 0:
        return []
    swap = _remedy([], scenario)
    single = [remedy for change in CHANGES if (remedy := _mildest_remedy(scenario, [change]))]
    if swap:
        single = [swap, *(remedy for remedy in single if not remedy.adds_swap)]
    return single or _fewest_changes(scenario)


def _fewest_changes(scenario: Scenario) -> list[Remedy]:
    """Leave out of all kinds together what is not needed, first what changes the answers most; return the one remedy left."""
    chosen, remedy = list(CHANGES), _mildest_remedy(scenario, CHANGES)
    if remedy is None:
        return []
    for change in reversed(CHANGES):
        fewer = [other for other in chosen if other is not change]
        if better := _mildest_remedy(scenario, fewer):
            chosen, remedy = fewer, better
    return [remedy]


def _mildest_remedy(scenario: Scenario, changes: Sequence[Change]) -> Remedy | None:
    """Return the changes at their strongest, the last at its mildest that fits; None where that is not enough."""
    options, scenario = _strongest(scenario, changes[:-1])
    variants = list(changes[-1](scenario)) if changes else []
    fitting = [remedy for variant in variants if (remedy := _remedy([*options, variant.options], variant.scenario))]
    return min(fitting, key=lambda remedy: remedy.adds_swap, default=None) or _remedy(options, scenario)


def _strongest(scenario: Scenario, changes: Sequence[Change]) -> tuple[list[str], Scenario]:
    """Return the scenario after the last variant of each of the changes, and the options that lead there."""
    options = []
    for change in changes:
        if variants := list(change(scenario)):
            options.append(variants[-1].options)
            scenario = variants[-1].scenario
    return options, scenario


def _remedy(options: list[str], scenario: Scenario) -> Remedy | None:
    """Return `options`, which led to `scenario`, as a remedy; None where it does not fit, or there are no options.

    Swap is added where only the build lacks memory: there it is slow, elsewhere hopeless.
    """
    figures = estimate(scenario)
    if set(figures.missing_bytes) == {"build"}:
        swap_gb = ceil(figures.missing_bytes["build"] / GB)
        target = replace(scenario.target, swap_bytes=scenario.target.swap_bytes + swap_gb * GB)
        figures = estimate(scenario.with_target(target))
        options = [*options, f"{SWAP} {target.swap_bytes // GB}"]
    return Remedy(" ".join(options), figures) if options and figures.fits and _taken(scenario) else None


def _taken(scenario: Scenario) -> bool:
    """Return whether the target takes the scenario's dtype, flavour and weight formats, as far as is known."""
    precision = scenario.model.precision
    return level_of(scenario.target.use(precision.dtype, precision.formats)) != "refused"
