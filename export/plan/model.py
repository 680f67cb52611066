"""What is planned for: a model's architecture and stored type, from a bundle's manifest or a `config.json` alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ...graphs.config import ModelConfig
from ...graphs.dtypes import DTYPES, DType, parse_dtype
from ...graphs.errors import DllmEdgeError
from ...graphs.families import default_dtype, family_of
from ...graphs.parameters import EMBEDDING, LM_HEAD, parameter_count, parameter_shapes
from ...graphs.weight_formats import WeightFormats, stored_bytes, weight_bytes
from ...runtime.bundle.manifest import MANIFEST, read_manifest
from ..json_file import read_object


@dataclass(frozen=True)
class Precision:
    """What weights are stored as and, in the dtype, computed in."""

    dtype: DType
    formats: WeightFormats = field(default_factory=WeightFormats)

    def __str__(self) -> str:
        parts = {"layers": self.formats.linear, "head": self.formats.head, "embedding": self.formats.embedding}
        return ", ".join([self.dtype, *(f"{part} {form}" for part, form in parts.items() if form.quantised)])


@dataclass(frozen=True)
class Subject:
    """A model that need not be there yet: nothing but its configuration is read."""

    path: Path
    config: ModelConfig
    precision: Precision

    @classmethod
    def read(cls, folder: Path) -> Subject:
        """From a bundle, or from a folder that holds a Hugging Face `config.json`."""
        if (folder / MANIFEST).is_file():
            manifest = read_manifest(folder)
            return cls(folder, manifest.config, Precision(manifest.stored, manifest.weights))
        if not folder.is_dir():
            raise DllmEdgeError(f"{folder}: there is no such folder: give a bundle, or a folder that holds a config.json")
        data = read_object(folder / "config.json")
        family = family_of(data)
        # transformers 5 writes `dtype`; a config without either means float32.
        stored = str(data.get("dtype") or data.get("torch_dtype") or "float32")
        return cls(folder, family.config(data), Precision(parse_dtype(default_dtype(family, stored))))


def stored_weights(config: ModelConfig, precision: Precision) -> int:
    """Bytes of all weights, as a bundle holds them."""
    return weight_bytes(config, precision.dtype, precision.formats)


def read_weights(config: ModelConfig, precision: Precision) -> int:
    """Bytes of weights that one step reads: all, but of an embedding that is not the LM head, too, only a few rows."""
    whole = stored_weights(config, precision)
    return whole if LM_HEAD not in precision.formats.shapes(config) else whole - embedding_bytes(config, precision)


def cpu_weights(config: ModelConfig, precision: Precision) -> int:
    """Bytes of all weights as ONNX Runtime's CPU provider computes with them: plain ones in float32, integers as they are."""
    return weight_bytes(config, "float32", precision.formats)


def folded_weights(config: ModelConfig, precision: Precision) -> int:
    """Bytes in float32 of what it casts while it loads a bundle: plain weights of another type, without the embedding."""
    if precision.dtype == "float32":
        return 0
    formats = precision.formats
    plain = {name: shape for name, shape in formats.shapes(config).items() if not formats.of(name, shape).quantised}
    if LM_HEAD in formats.shapes(config):
        plain.pop(EMBEDDING, None)
    return DTYPES["float32"].nbytes(parameter_count(plain))


def parameters(config: ModelConfig) -> int:
    """Of the layers, which every row passes through."""
    shapes = parameter_shapes(config)
    return parameter_count({name: shape for name, shape in shapes.items() if name not in (EMBEDDING, LM_HEAD)})


def embedding_bytes(config: ModelConfig, precision: Precision) -> int:
    return stored_bytes((config.vocab_size, config.hidden_size), precision.dtype, precision.formats.embedding)
