"""How weights are stored: in a floating-point type, or as integers with a scale for each group of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from .config import ModelConfig
from .contract import ITEM_SIZES, DType
from .errors import DllmEdgeError
from .families import canonical_shapes

GROUPS = (32, 64, 128)
BITS = {"int8": 8, "int4": 4}
NAMES = ("plain", *BITS)
EMBEDDING, LM_HEAD = "embedding.weight", "lm_head.weight"


@dataclass(frozen=True)
class WeightFormat:
    """`plain` is the bundle's dtype; `int8` and `int4` are integers, `group` of them along the inputs sharing a scale."""

    name: str = "plain"
    group: int = 0

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise DllmEdgeError(f"unknown weight format {self.name!r}: choose one of {', '.join(NAMES)}")
        if self.quantised and self.group not in GROUPS:
            raise DllmEdgeError(f"weights in groups of {self.group}: choose one of {', '.join(map(str, GROUPS))}")
        if not self.quantised and self.group:
            raise DllmEdgeError("plain weights have no groups")

    @classmethod
    def named(cls, name: str, group: int) -> WeightFormat:
        """The format `name`; plain weights leave `group` out."""
        return cls(name, group if name in BITS else 0)

    @property
    def quantised(self) -> bool:
        return self.name in BITS

    @property
    def bits(self) -> int:
        return BITS[self.name]

    def __str__(self) -> str:
        return f"{self.name} in groups of {self.group}" if self.quantised else self.name


PLAIN = WeightFormat()


@dataclass(frozen=True)
class WeightFormats:
    """The formats of one bundle: of the layers' linear weights, of the LM head, of the embedding.

    Norms and biases are always plain. A tied LM head is the embedding's matrix; where the head's format is another than
    the embedding's, the head has a copy of its own.
    """

    linear: WeightFormat = field(default=PLAIN)
    head: WeightFormat = field(default=PLAIN)
    embedding: WeightFormat = field(default=PLAIN)

    @property
    def quantised(self) -> bool:
        return any(each.quantised for each in (self.linear, self.head, self.embedding))

    def of(self, name: str, shape: tuple[int, ...]) -> WeightFormat:
        """The format of the tensor with this canonical name and shape."""
        if len(shape) != 2:
            return PLAIN
        return {EMBEDDING: self.embedding, LM_HEAD: self.head}.get(name, self.linear)

    def shapes(self, config: ModelConfig) -> dict[str, tuple[int, ...]]:
        """Name and shape `[outputs, inputs]` of each tensor: the model's, and a tied LM head's own copy if it has one."""
        shapes = canonical_shapes(config)
        if config.tie_embeddings and self.head != self.embedding:
            shapes[LM_HEAD] = shapes[EMBEDDING]
        return shapes

    def check(self, config: ModelConfig) -> None:
        """Raise `DllmEdgeError` where a group does not divide the inputs of a weight, naming the groups that do."""
        for name, shape in self.shapes(config).items():
            group = self.of(name, shape).group
            if group and shape[1] % group:
                fit = [str(each) for each in GROUPS if shape[1] % each == 0]
                instead = f"use --group {' or '.join(fit)}" if fit else "no group fits it, leave its weights plain"
                raise DllmEdgeError(f"{name} has {shape[1]} inputs, which do not divide into groups of {group}: {instead}")


def stored_bytes(shape: tuple[int, ...], dtype: DType, format: WeightFormat) -> int:  # noqa: A002
    """Bytes of a tensor in a bundle whose dtype is `dtype`, scales included; `shape` is `[outputs, inputs]`."""
    count = prod(shape)
    if not format.quantised:
        return count * ITEM_SIZES[dtype]
    return count * format.bits // 8 + count // format.group * ITEM_SIZES[dtype]


def weight_bytes(config: ModelConfig, dtype: DType, formats: WeightFormats = WeightFormats()) -> int:
    """Bytes of all weights of a bundle."""
    return sum(stored_bytes(shape, dtype, formats.of(name, shape)) for name, shape in formats.shapes(config).items())
