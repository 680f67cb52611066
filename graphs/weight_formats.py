"""How weights are stored: in a floating-point type, or as integers with a scale for each group of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import prod
from typing import Any, Literal

from .config import ModelConfig
from .contract import ITEM_SIZES, DType
from .errors import DllmEdgeError
from .families import canonical_shapes

GROUPS = (32, 64, 128)
BITS = {"int8": 8, "int4": 4}
NAMES = ("plain", *BITS)
EMBEDDING, LM_HEAD = "embedding.weight", "lm_head.weight"
# Of the two tensors that a quantised weight is stored as.
INTEGERS, SCALES = ".integers", ".scales"
StoredType = Literal[DType, "int8", "int4", "int32"]
STORED_BITS: dict[str, int] = {name: 8 * size for name, size in ITEM_SIZES.items()} | BITS | {"int32": 32}


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

    Norms and biases are always plain; the embedding is plain or int8. A tied LM head is the embedding's matrix only where
    both are plain: as integers, each has a layout of its own.
    """

    linear: WeightFormat = field(default=PLAIN)
    head: WeightFormat = field(default=PLAIN)
    embedding: WeightFormat = field(default=PLAIN)

    def __post_init__(self) -> None:
        if self.embedding.name == "int4":
            raise DllmEdgeError("an embedding cannot be int4: use --embedding-weights int8 or plain")

    @property
    def quantised(self) -> bool:
        return any(each.quantised for each in (self.linear, self.head, self.embedding))

    def of(self, name: str, shape: tuple[int, ...]) -> WeightFormat:
        """The format of the tensor with this canonical name and shape."""
        if len(shape) != 2:
            return PLAIN
        return {EMBEDDING: self.embedding, LM_HEAD: self.head}.get(name, self.linear)

    def stored(self, config: ModelConfig) -> ModelConfig:
        """The model as its weights are stored: with an LM head of its own where a tied one cannot be shared."""
        shared = config.tie_embeddings and not (self.head.quantised or self.embedding.quantised)
        return replace(config, tie_embeddings=shared)

    def shapes(self, config: ModelConfig) -> dict[str, tuple[int, ...]]:
        """Name and shape `[outputs, inputs]` of each weight, with a tied LM head's own copy if it has one."""
        return canonical_shapes(self.stored(config))

    def parts(self, name: str, shape: tuple[int, ...], dtype: DType) -> tuple[StoredPart, ...]:
        """The tensors that the weight `name` of `shape` is stored as, in a bundle whose dtype is `dtype`."""
        if name == EMBEDDING and self.embedding.quantised:
            return embedding_parts(name, shape, dtype, self.embedding)
        return stored_parts(name, shape, dtype, self.of(name, shape))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Mapping[str, Any]]) -> WeightFormats:
        return cls(**{part: WeightFormat(**weight_format) for part, weight_format in data.items()})

    def check(self, config: ModelConfig) -> None:
        """Raise `DllmEdgeError` where a group does not divide the inputs of a weight, naming the groups that do."""
        quantised = {name: shape for name, shape in self.shapes(config).items() if self.of(name, shape).quantised}
        for name, shape in quantised.items():
            if shape[1] % (group := self.of(name, shape).group):
                fit = [str(each) for each in GROUPS if not any(inputs % each for _, inputs in quantised.values())]
                instead = f"use --group {' or '.join(fit)}" if fit else "no group fits all weights, leave them plain"
                raise DllmEdgeError(f"{name} has {shape[1]} inputs, which do not divide into groups of {group}: {instead}")


ALL_PLAIN = WeightFormats()


@dataclass(frozen=True)
class StoredPart:
    """One tensor in a bundle's weight files; int4 is packed, two to a byte."""

    name: str
    dtype: StoredType
    shape: tuple[int, ...]

    @property
    def length(self) -> int:
        """Bytes."""
        return prod(self.shape) * STORED_BITS[self.dtype] // 8


def stored_parts(name: str, shape: tuple[int, ...], dtype: DType, weight_format: WeightFormat) -> tuple[StoredPart, ...]:
    """A plain weight as it is; of a quantised one integers `[inputs, outputs]` and scales `[inputs / group, outputs]`."""
    if not weight_format.quantised:
        return (StoredPart(name, dtype, shape),)
    outputs, inputs = shape
    integers: StoredType = "int4" if weight_format.name == "int4" else "int8"
    return (
        StoredPart(name + INTEGERS, integers, (inputs, outputs)),
        StoredPart(name + SCALES, dtype, (inputs // weight_format.group, outputs)),
    )


def embedding_parts(name: str, shape: tuple[int, ...], dtype: DType, weight_format: WeightFormat) -> tuple[StoredPart, ...]:
    """A quantised embedding: four integers to a word, and scales, of each row of `shape` `[ids, width]`."""
    ids, width = shape
    return (
        StoredPart(name + INTEGERS, "int32", (ids, width // 4)),
        StoredPart(name + SCALES, dtype, (ids, width // weight_format.group)),
    )


def stored_bytes(shape: tuple[int, ...], dtype: DType, weight_format: WeightFormat) -> int:
    """Bytes of a weight in a bundle whose dtype is `dtype`, scales included; `shape` is `[outputs, inputs]`."""
    return sum(part.length for part in stored_parts("", shape, dtype, weight_format))


def weight_bytes(config: ModelConfig, dtype: DType, formats: WeightFormats = ALL_PLAIN) -> int:
    """Bytes of all weights of a bundle."""
    return sum(stored_bytes(shape, dtype, formats.of(name, shape)) for name, shape in formats.shapes(config).items())
