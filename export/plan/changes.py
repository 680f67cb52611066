"""What may be changed of a scenario that does not fit, one kind of change after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ...runtime.systems import fitting_systems
from .scenario import Scenario

CONTEXT_STEP = 64


@dataclass(frozen=True)
class Variant:
    """A scenario that one change leads to, and the options that mean it."""

    options: str
    scenario: Scenario


Change = Callable[[Scenario], Iterator[Variant]]
"""Yields the variants of a scenario that one kind of change makes, mildest first."""


def narrower_dtype(scenario: Scenario) -> Iterator[Variant]:
    """Yield bfloat16 for float32."""
    precision = scenario.model.precision
    if precision.dtype == "float32":
        yield Variant("--dtype bfloat16", scenario.with_precision(replace(precision, dtype="bfloat16")))


def fused_flavour(scenario: Scenario) -> Iterator[Variant]:
    """Yield fused attention for the portable one."""
    if scenario.target.flavour == "portable":
        yield Variant("--flavour fused", scenario.with_target(replace(scenario.target, flavour="fused")))


def smaller_batch(scenario: Scenario) -> Iterator[Variant]:
    """Yield half as many sequences at a time, again and again."""
    batch = scenario.decode.batch
    while batch > 1:
        batch //= 2
        yield Variant(f"--batch {batch}", scenario.with_decode(replace(scenario.decode, batch=batch)))


def lower_retention(scenario: Scenario) -> Iterator[Variant]:
    """Yield caches of which a smaller share is kept."""
    decode, fitting = scenario.decode, fitting_systems(scenario.model.config)
    evicting = [system.name for system in fitting if "retention" in system.setting_names]
    if not evicting:
        return
    system = decode.system if decode.system in evicting else evicting[0]
    for retention in (0.5, 0.25):
        if decode.system != system or retention < decode.kept:
            changed = replace(decode, system=system, retention=retention)
            yield Variant(f"--systems {system} --retention {retention:g}", scenario.with_decode(changed))


def smaller_block(scenario: Scenario) -> Iterator[Variant]:
    """Yield blocks of half as many tokens, again and again, down from more than 8."""
    block = scenario.decode.block
    while block % 2 == 0 and block > 8:
        block //= 2
        yield Variant(f"--block-length {block}", scenario.with_decode(replace(scenario.decode, block_length=block)))


def shorter_context(scenario: Scenario) -> Iterator[Variant]:
    """Yield shorter canvases, in steps of 64 tokens, down to the length of the generation."""
    decode = scenario.decode
    longest = (decode.context - 1) // CONTEXT_STEP * CONTEXT_STEP
    for context in range(longest, decode.gen_length, -CONTEXT_STEP):
        yield Variant(f"--context {context}", scenario.with_decode(replace(decode, context=context)))
