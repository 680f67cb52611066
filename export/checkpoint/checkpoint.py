"""A Hugging Face checkpoint folder, checked as it is opened and read one tensor at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ...graphs.config import ModelConfig
from ...graphs.contract import Flavour
from ...graphs.dtypes import DType
from ...graphs.errors import DllmEdgeError
from ...graphs.families import Family, family_of
from ...graphs.modules.transformer import Transformer
from ...graphs.parameters import EMBEDDING, LM_HEAD, parameter_shapes
from ..json_file import read_object
from ..missing_folder import missing_folder
from .lora import Lora
from .safetensors import StoredTensor, stored_tensors


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of one model by canonical name (a key of `parameter_shapes`).

    `config.tie_embeddings` is true also where the folder has no LM head; a tied LM head is not among the names. With
    `allow_nonfinite`, NaN and infinity are exported as they are.
    """

    folder: Path
    family: Family
    config: ModelConfig
    tensors: Mapping[str, StoredTensor]
    lora: Lora | None = None
    allow_nonfinite: bool = False

    @classmethod
    def open(cls, folder: Path, lora: Path | None = None) -> Checkpoint:
        """Read `config.json` and the headers of the weight files; no weights. `lora` is a folder with a PEFT adapter.

        Raises `DllmEdgeError` for a model that is not supported and for files that are missing, damaged or do not fit.
        """
        if not folder.is_dir():
            raise missing_folder(folder, "give a Hugging Face folder")
        data = read_object(folder / "config.json")
        family = family_of(data)
        config = family.config(data)
        stored = stored_tensors(folder)
        if family.tensor_name(LM_HEAD) not in stored:
            config = replace(config, tie_embeddings=True)
        names, shapes = family.tensor_names(config), parameter_shapes(config)
        check_names(folder, family, set(names.values()), set(stored))
        tensors = {name: stored[tensor_name] for name, tensor_name in names.items()}
        for name, tensor in tensors.items():
            if tensor.shape != shapes[name]:
                raise DllmEdgeError(
                    f"{tensor.file}: {names[name]} has shape {list(tensor.shape)}, config.json says {list(shapes[name])}: "
                    "they belong to different models"
                )
        canonical = {tensor_name: name for name, tensor_name in names.items()}
        return cls(folder, family, config, tensors, None if lora is None else Lora.open(lora, canonical, shapes))

    @property
    def dtype(self) -> DType:
        """The dtype that most bytes are stored as: float32, float16 or bfloat16."""
        sizes: Counter[DType] = Counter()
        for tensor in self.tensors.values():
            sizes[tensor.dtype] += tensor.length
        return sizes.most_common(1)[0][0]

    def source(self, name: str) -> str:
        """Return the tensor that a weight of a bundle is made of: a tied LM head's own copy is made of the embedding."""
        return EMBEDDING if name == LM_HEAD and self.config.tie_embeddings else name

    def names(self) -> list[str]:
        """Return the canonical names in the order of the model."""
        return list(self.tensors)

    def stored(self, name: str) -> StoredTensor:
        """Return where a tensor lies; without the adapter's part (see `merged`)."""
        return self.tensors[name]

    def merged(self, name: str) -> bool:
        """Return whether the adapter changes this tensor, so that its bytes on disk are not its value."""
        return self.lora is not None and name in self.lora.pairs

    def read(self, name: str) -> torch.Tensor:
        """Return one tensor in its own dtype, the adapter merged."""
        weight = self.tensors[name].read()
        return weight if self.lora is None else self.lora.merge(name, weight)


def check_names(folder: Path, family: Family, expected: set[str], stored: set[str]) -> None:
    """Refuse a checkpoint that lacks a tensor or holds one that would be left out without a word."""
    harmless = {name for name in stored if name.endswith("rotary_emb.inv_freq")} | {family.tensor_name(LM_HEAD)}
    missing, extra = sorted(expected - stored), sorted(stored - expected - harmless)
    if missing:
        instead = f" (it holds {extra[0]}, which {family.name} models do not have)" if extra else ""
        raise DllmEdgeError(f"{folder}: {len(missing)} tensors are missing, first {missing[0]}{instead}: download it again")
    if extra:
        raise DllmEdgeError(
            f"{folder}: holds {len(extra)} tensors that {family.name} models do not have, first {extra[0]}: "
            "config.json does not describe this model"
        )


def load_transformer(
    checkpoint: Checkpoint, flavour: Flavour = "fused", compute_dtype: torch.dtype = torch.float32
) -> Transformer:
    """Return the torch module with the checkpoint's weights in their own dtypes, ready for inference."""
    with torch.device("meta"):
        model = Transformer(checkpoint.config, flavour, compute_dtype)
    model.load_state_dict({name: checkpoint.read(name) for name in checkpoint.names()}, assign=True)
    return model.eval().requires_grad_(False)
