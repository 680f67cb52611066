"""The model that is planned for: its architecture and precision, from a bundle's manifest or a `config.json` alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ...graphs.config import ModelConfig
from ...graphs.dtypes import DType, parse_dtype
from ...graphs.families import default_dtype, family_of
from ...graphs.weight_formats import WeightFormats
from ...runtime.bundle.manifest import MANIFEST, read_manifest
from ..json_file import read_object
from ..missing_folder import missing_folder


@dataclass(frozen=True)
class Precision:
    """`dtype` is what is computed in, and what the weights are stored as that `formats` leaves plain."""

    dtype: DType
    formats: WeightFormats = field(default_factory=WeightFormats)

    def __str__(self) -> str:
        parts = {"layers": self.formats.linear, "head": self.formats.head, "embedding": self.formats.embedding}
        return ", ".join([self.dtype, *(f"{part} {form}" for part, form in parts.items() if form.quantised)])


@dataclass(frozen=True)
class PlannedModel:
    """A model that need not be there yet: nothing but its configuration is read."""

    path: Path
    config: ModelConfig
    precision: Precision

    @classmethod
    def read(cls, folder: Path) -> PlannedModel:
        """Read a bundle, or a folder that holds a Hugging Face `config.json`; raises `DllmEdgeError` where it is neither."""
        if (folder / MANIFEST).is_file():
            manifest = read_manifest(folder)
            return cls(folder, manifest.config, Precision(manifest.stored, manifest.weights))
        if not folder.is_dir():
            raise missing_folder(folder, "give a bundle, or a folder that holds a config.json")
        data = read_object(folder / "config.json")
        family = family_of(data)
        # transformers 5 writes `dtype`; a config without either means float32.
        stored = str(data.get("dtype") or data.get("torch_dtype") or "float32")
        return cls(folder, family.config(data), Precision(parse_dtype(default_dtype(family, stored))))
