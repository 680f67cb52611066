"""How weights are stored: in a floating-point type, or as integers with a scale for each group of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from math import prod
from typing import Any

from .config import ModelConfig
from .dtypes import DTYPES, DType
from .errors import DllmEdgeError, unknown
from .parameters import EMBEDDING, LM_HEAD, parameter_shapes
from .schema import read

GROUPS = (32, 64, 128)
# The widest first.
FORMAT_NAMES = ("plain", "int8", "int4")
# The ends of the names of the two tensors that a quantised weight is stored as.
INTEGERS, SCALES = ".integers", ".scales"


@dataclass(frozen=True)
class WeightFormat:
    """`plain` is the bundle's dtype; `int8` and `int4` are integers, `group` of them along the inputs sharing a scale."""

    name: str = "plain"
    group: int = 0

    def __post_init__(self) -> None:
        if self.name not in FORMAT_NAMES:
            raise unknown("weight format", self.name, FORMAT_NAMES)
        if self.quantised and self.group not in GROUPS:
            raise DllmEdgeError(f"weights in groups of {self.group}: choose one of {', '.join(map(str, GROUPS))}")
        if not self.quantised and self.group:
            raise DllmEdgeError("plain weights have no groups")

    @classmethod
    def named(cls, name: str, group: int) -> WeightFormat:
        """Return the format `name`; plain weights leave `group` out."""
        return cls(name, 0 if name == "plain" else group)

    @property
    def quantised(self) -> bool:
        return self.name != "plain"

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
        """Return the format of the parameter with this canonical name and shape."""
        if len(shape) != 2:
            return PLAIN
        return {EMBEDDING: self.embedding, LM_HEAD: self.head}.get(name, self.linear)

    def stored_config(self, config: ModelConfig) -> ModelConfig:
        """Return the model as its weights are stored: with an LM head of its own where a tied one cannot be shared."""
        shared = config.tie_embeddings and not (self.head.quantised or self.embedding.quantised)
        return replace(config, tie_embeddings=shared)

    def shapes(self, config: ModelConfig) -> dict[str, tuple[int, ...]]:
        """Return the name and shape `[outputs, inputs]` of each weight, with a tied LM head's own copy if it has one."""
        return parameter_shapes(self.stored_config(config))

    def parts(self, name: str, shape: tuple[int, ...], dtype: DType) -> tuple[StoredPart, ...]:
        """Return the tensors that the weight `name` of `shape` is stored as, in a bundle whose dtype is `dtype`."""
        if name == EMBEDDING and self.embedding.quantised:
            return embedding_parts(name, shape, dtype, self.embedding)
        return stored_parts(name, shape, dtype, self.of(name, shape))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> WeightFormats:
        """Read what `to_json` returned; raises `DllmEdgeError` for what is none."""
        return read(cls, data, "weights")

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
    dtype: DType
    shape: tuple[int, ...]

    @property
    def length(self) -> int:
        """Bytes of the tensor."""
        return DTYPES[self.dtype].nbytes(prod(self.shape))


def stored_parts(name: str, shape: tuple[int, ...], dtype: DType, weight_format: WeightFormat) -> tuple[StoredPart, ...]:
    """Return a plain weight as it is; of a quantised one integers `[inputs, outputs]`, scales `[inputs / group, outputs]`."""
    if not weight_format.quantised:
        return (StoredPart(name, dtype, shape),)
    outputs, inputs = shape
    integers: DType = "int4" if weight_format.name == "int4" else "int8"
    return (
        StoredPart(name + INTEGERS, integers, (inputs, outputs)),
        StoredPart(name + SCALES, dtype, (inputs // weight_format.group, outputs)),
    )


def embedding_parts(name: str, shape: tuple[int, ...], dtype: DType, weight_format: WeightFormat) -> tuple[StoredPart, ...]:
    """Return the parts of a quantised embedding: four integers to a word, and scales, of each row of `[ids, width]`."""
    ids, width = shape
    return (
        StoredPart(name + INTEGERS, "int32", (ids, width // 4)),
        StoredPart(name + SCALES, dtype, (ids, width // weight_format.group)),
    )


def stored_bytes(shape: tuple[int, ...], dtype: DType, weight_format: WeightFormat) -> int:
    """Return the bytes of a weight in a bundle whose dtype is `dtype`, scales included; `shape` is `[outputs, inputs]`."""
    return sum(part.length for part in stored_parts("", shape, dtype, weight_format))


def weight_bytes(config: ModelConfig, dtype: DType, formats: WeightFormats = ALL_PLAIN) -> int:
    """Return the bytes of all weights of a bundle."""
    return sum(stored_bytes(shape, dtype, formats.of(name, shape)) for name, shape in formats.shapes(config).items())
