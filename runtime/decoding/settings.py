"""Settings of a decode: one vocabulary for all systems, checked in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

from ...graphs.errors import DllmEdgeError
from ..unmasking.proposals import Confidence

Unmask = Literal["quota", "schedule", "threshold", "factor"]

LEAST = {"gen_length": 1, "block_length": 0, "steps": 0, "refresh": 0, "delay": 0, "max_steps": 0, "kernel": 1}
CHOICES = {"unmask": get_args(Unmask), "confidence": get_args(Confidence)}
# A threshold above 1 is out of reach: one token a step.
RANGES = {"threshold": (0.0, 1.01), "factor": (1e-6, 1e6), "retention": (0.0, 1.0), "temperature": (0.0, 100.0)}
WORDS = {bool: "true or false", int: "a whole number", float: "a number"}
SWITCH = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}


@dataclass(frozen=True)
class Settings:
    """What a system reads of these is in its `System.settings`; lengths are in tokens."""

    gen_length: int = 128
    """How many tokens are masked after the prompt."""
    block_length: int = 32
    """Tokens of a block; blocks are decoded left to right. 0: the whole generation is one block."""
    steps: int = 0
    """Steps over which `quota` and `schedule` spread their tokens (0: one a token)."""
    unmask: Unmask = "quota"
    """How many tokens a step commits: `quota`, `schedule`, `threshold` or `factor`."""
    confidence: Confidence = "maskgit_plus"
    """What orders the candidates: `maskgit_plus`, `topk_margin`, `entropy` or `random`."""
    threshold: float = 0.9
    """Least confidence that `threshold` commits."""
    factor: float = 1.0
    """Bound of `factor`: n tokens are committed while (n + 1)(1 - confidence) stays below it."""
    reference_compat: bool = False
    """Let `factor` commit what the authors' code commits beyond the paper's rule (see `unmasking.factor`)."""
    temperature: float = 0.0
    """Of the Gumbel noise over the candidates (0: the most probable token)."""
    early_stop: bool = True
    """Stop as soon as the text before an end-of-text token is complete."""
    refresh: int = 0
    """Steps after which the cache is refreshed within a block (0: at its start alone)."""
    retention: float = 0.5
    """Share of the slots outside the block that eviction keeps."""
    kernel: int = 3
    """Width of the maximum that smooths saliency over neighbours (odd)."""
    delay: int = 1
    """Full steps of a block before its cache is filled and evicted."""
    max_steps: int = 0
    """Give up after this many forwards (0: no limit but that of the rules)."""

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise DllmEdgeError(f"{name}={getattr(self, name)}: must be at least {least}")
        for name, values in CHOICES.items():
            if getattr(self, name) not in values:
                raise DllmEdgeError(f"{name}={getattr(self, name)}: must be one of {', '.join(values)}")
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise DllmEdgeError(f"{name}={getattr(self, name)}: must be between {low:g} and {high:g}")
        if self.kernel % 2 == 0:
            raise DllmEdgeError(f"kernel={self.kernel}: must be odd, or scores would shift by half a slot")
        if self.unmask in ("threshold", "factor") and self.confidence == "entropy":
            raise DllmEdgeError(f"unmask={self.unmask} compares probabilities: confidence=entropy has none")
        self._check_lengths()

    def _check_lengths(self) -> None:
        if self.block_length and self.gen_length % self.block_length:
            fits = self.gen_length - self.gen_length % self.block_length or self.block_length
            raise DllmEdgeError(
                f"gen_length={self.gen_length} does not fit block_length={self.block_length}: "
                f"use a multiple of it (say {fits}), or block_length=0 for one block"
            )
        if self.steps % self.block_count:
            raise DllmEdgeError(
                f"steps={self.steps} do not spread evenly over {self.block_count} blocks: use a multiple of {self.block_count}"
            )

    @property
    def block(self) -> int:
        """Tokens of a block."""
        return self.block_length or self.gen_length

    @property
    def block_count(self) -> int:
        return self.gen_length // self.block

    def block_steps(self, masks: int) -> int:
        """Steps of one block with `masks` masked positions at its start."""
        return self.steps // self.block_count or max(1, masks)


TYPES = get_type_hints(Settings)
NAMES = tuple(field.name for field in fields(Settings))


def with_settings(settings: Settings, changes: Mapping[str, Any], known: Iterable[str], system: str) -> Settings:
    """`settings` with `changes`, whose values may be text; only `known` names are taken."""
    known = tuple(known)
    typed = {}
    for name, value in changes.items():
        if name not in known:
            raise DllmEdgeError(f"{system} has no setting '{name}'; it has {', '.join(known)}")
        typed[name] = _parse(name, value)
    return replace(settings, **typed)


def _parse(name: str, value: Any) -> Any:
    """A value of the setting's type; text is read, a whole float is taken for an int, everything else is an error."""
    kind = TYPES[name]
    if kind not in WORDS or type(value) is kind:
        return value
    if kind is bool:
        if str(value).lower() in SWITCH:
            return SWITCH[str(value).lower()]
    elif not isinstance(value, bool):
        try:
            if kind is float or isinstance(value, str) or int(value) == value:
                return kind(value)
        except (TypeError, ValueError, OverflowError):
            pass
    raise DllmEdgeError(f"{name}={value}: must be {WORDS[kind]}")
