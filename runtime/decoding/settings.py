"""Settings of a decode: one vocabulary for all systems and rules, each declared where it is read, checked in one place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from ...graphs.errors import LONGEST, DllmEdgeError, did_you_mean

WORDS = {bool: "true or false", int: "a whole number", float: "a number"}
LARGEST = 1 << 53  # of numbers without a bound of their own: beyond it, a float has no whole ones
SWITCH = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}


@dataclass(frozen=True, eq=False)
class Setting:
    """A setting by name: its default, whose type is the setting's, what it means, and what it may be.

    `least` and `most` bound a number, `choices` a word; `check` raises `DllmEdgeError` for what they do not catch.
    """

    name: str
    default: Any
    help: str
    least: float | None = None
    most: float | None = None
    choices: Collection[str] = ()
    check: Callable[[Any], None] | None = None

    @property
    def dtype(self) -> type:
        return type(self.default)

    def parse(self, value: Any) -> Any:
        """Return a value of the setting's type: text is read, a whole float is taken for an int, all else is an error.

        The same for what is given in Python and in text; raises `DllmEdgeError`.
        """
        kind = self.dtype
        if kind not in WORDS or type(value) is kind:
            return value
        if kind is bool and _written(value).lower() in SWITCH:
            return SWITCH[_written(value).lower()]
        # Text with an underscore is a number for Python alone.
        number = isinstance(value, Real) and not isinstance(value, bool)
        if kind is not bool and (number or (isinstance(value, str) and "_" not in value)):
            try:
                if kind is float or isinstance(value, str) or int(value) == value:
                    return kind(value)
            except (ValueError, OverflowError):
                pass
        raise DllmEdgeError(f"{self.name}={_written(value)}: must be {WORDS[kind]}")

    def validate(self, value: Any) -> None:
        """Raise `DllmEdgeError` for a value that the setting may not have."""
        given = f"{self.name}={_written(value)}"
        if self.choices and not (isinstance(value, str) and value in self.choices):
            guess = did_you_mean(_written(value), self.choices)
            raise DllmEdgeError(f"{given}:{guess} must be one of {', '.join(self.choices)}")
        if self.least is not None and self.most is not None and not self.least <= value <= self.most:
            raise DllmEdgeError(f"{given}: must be between {self.least:g} and {self.most:g}")
        if self.least is not None and not value >= self.least:
            raise DllmEdgeError(f"{given}: must be at least {self.least:g}")
        if self.most is not None and not value <= self.most:
            raise DllmEdgeError(f"{given}: must be at most {self.most:g}")
        if isinstance(value, int | float) and not value <= LARGEST:
            raise DllmEdgeError(f"{given}: must be at most {LARGEST}")
        if self.check is not None:
            self.check(value)


DECLARED: dict[str, Setting] = {}
"""Every setting by name, in the order in which they were declared."""

CHECKS: list[Callable[[Settings], None]] = []
"""What raises `DllmEdgeError` for settings that do not go together."""


def declare(setting: Setting) -> Setting:
    """Add a setting to the vocabulary, in which a name means one thing."""
    assert setting.name not in DECLARED, f"there is a setting '{setting.name}' already: use it"
    DECLARED[setting.name] = setting
    return setting


GEN_LENGTH = declare(Setting("gen_length", 128, "How many tokens are masked after the prompt.", least=1))
BLOCK_LENGTH = declare(
    Setting(
        "block_length",
        32,
        "Tokens of a block; blocks are decoded left to right, the last may be shorter. 0: the whole generation is one block.",
        least=0,
    )
)
# A rule may hold a number for each step: these are more than any text takes, and fit.
STEPS = declare(
    Setting(
        "steps",
        0,
        "Over how many steps `quota`, `schedule` and `klass` spread tokens (0: one a step).",
        least=0,
        most=10**6,
    )
)
TEMPERATURE = declare(
    Setting("temperature", 0.0, "Of the Gumbel noise over the candidates (0: the most probable token).", least=0.0, most=100.0)
)
EARLY_STOP = declare(Setting("early_stop", True, "Stop as soon as the text before an end-of-text token is complete."))
STOP_AT = declare(
    Setting(
        "stop_at",
        "text",
        "What `early_stop` waits for: `text`, the text before the end of text alone; `block`, the block that holds it, too; "
        "what follows the block then becomes end of text.",
        choices=("text", "block"),
    )
)
REFERENCE_COMPAT = declare(
    Setting(
        "reference_compat",
        False,
        "Let `factor` and `saber` do what the authors' code does where that departs from the paper.",
    )
)
MAX_STEPS = declare(
    Setting("max_steps", 0, "Give up after this many forwards (0: after far more than any decode needs).", least=0)
)


def parse_setting(name: str, value: Any) -> Any:
    """Return the value of a declared setting, in its type and range; raises `DllmEdgeError` where there is none such."""
    if name not in DECLARED:
        raise DllmEdgeError(f"unknown setting '{name:.80}': 'dllm-edge systems' lists them")
    parsed = DECLARED[name].parse(value)
    DECLARED[name].validate(parsed)
    return parsed


class Settings:
    """The value of every setting as an attribute: of those that are given, the others' defaults. Equal by value; immutable.

    Raises `DllmEdgeError` for names that nobody declared, for values out of range, and for such as do not go together.
    """

    def __init__(self, **values: Any) -> None:
        read = {name: parse_setting(name, value) for name, value in values.items()}
        changed = {name: value for name, value in read.items() if value != DECLARED[name].default}
        object.__setattr__(self, "_values", changed)
        for check in CHECKS:
            check(self)

    def __getattr__(self, name: str) -> Any:
        values: dict[str, Any] = self.__dict__["_values"]
        if name in values:
            return values[name]
        if name in DECLARED:
            return DECLARED[name].default
        raise AttributeError(f"there is no setting '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("settings do not change: make others with replace()")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and self.__dict__["_values"] == other.__dict__["_values"]

    def __hash__(self) -> int:
        return hash(frozenset(self.__dict__["_values"].items()))

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.__dict__['_values'].items())})"

    def replace(self, **changes: Any) -> Settings:
        """Return these settings with others for some names."""
        return Settings(**{**self.__dict__["_values"], **changes})

    def values_of(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names}

    @property
    def block(self) -> int:
        """Tokens of a block."""
        return int(self.block_length or self.gen_length)

    @property
    def block_count(self) -> int:
        return -(-int(self.gen_length) // self.block)

    def block_steps(self, masks: int) -> int:
        """Return the steps of one block with `masks` masked positions at its start."""
        return int(self.steps) // self.block_count or max(1, masks)


def check_steps(settings: Settings) -> None:
    """Raise `DllmEdgeError` for `steps` that do not spread evenly over the blocks: for rules that read them."""
    if settings.steps % settings.block_count:
        raise DllmEdgeError(
            f"steps={settings.steps} do not spread evenly over {settings.block_count} blocks: "
            f"use a multiple of {settings.block_count}"
        )


def with_settings(settings: Settings, changes: Mapping[str, Any], known: Iterable[str], system: str) -> Settings:
    """Return `settings` with `changes`, whose values may be text; only `known` names are taken."""
    check_names(changes, tuple(known), system)
    return settings.replace(**changes)


def check_names(names: Iterable[str], known: Collection[str], system: str) -> None:
    """Raise `DllmEdgeError` for a name that is none of the `known` settings of a system."""
    for name in names:
        if name not in known:
            raise DllmEdgeError(f"{system} has no setting '{name}';{did_you_mean(name, known)} it has {', '.join(known)}")


def _written(value: object) -> str:
    """Return a value in one short line, as its user gave it."""
    try:
        text = " ".join(str(value).split())
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
