"""A LoRA adapter in PEFT's layout, to be merged into the weights as they are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...graphs.errors import DllmEdgeError, shown
from ...graphs.families.config_keys import is_finite
from ...graphs.parameters import EMBEDDING
from ..json_file import read_object
from .safetensors import StoredTensor, read_header

WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
# Those in use are below a thousand; what is far beyond is damage, as are infinity and NaN.
LARGEST_ALPHA = 1e6
# Initialisations that also change the base weights; an adapter alone does not say by how much.
CHANGED_BASE = ("pissa", "olora", "corda", "loftq")


@dataclass(frozen=True)
class Lora:
    """`pairs` holds A `[r, in]` and B `[out, r]` of each adapted tensor by its canonical name."""

    scaling: float
    pairs: Mapping[str, tuple[StoredTensor, StoredTensor]]

    @classmethod
    def open(cls, folder: Path, canonical: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> Lora:
        """Read an adapter folder. `canonical` maps checkpoint tensor names to canonical ones, whose shapes `shapes` has."""
        settings = read_object(folder / "adapter_config.json")
        refuse_unsupported(folder, settings)
        rank: Any = settings.get("r")
        alpha: Any = settings.get("lora_alpha")
        numbers = isinstance(rank, int) and not isinstance(rank, bool) and is_finite(alpha)
        if not numbers or rank < 1 or abs(alpha) >= LARGEST_ALPHA:
            raise DllmEdgeError(
                f"{folder}/adapter_config.json: r is {shown(rank)} and lora_alpha {shown(alpha)}; both must be numbers"
            )
        if not (folder / WEIGHTS).is_file():
            raise DllmEdgeError(
                f"{folder}: there is no {WEIGHTS}; adapters are read as safetensors only: save it again with PEFT"
            )
        pairs = adapter_pairs(folder / WEIGHTS, canonical)
        for name, (down, up) in pairs.items():
            if down.shape != (rank, shapes[name][1]) or up.shape != (shapes[name][0], rank):
                raise DllmEdgeError(
                    f"{folder}: A {list(down.shape)} and B {list(up.shape)} for {name} {list(shapes[name])} at rank {rank} "
                    "do not fit: the adapter is for another model"
                )
        return cls(alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank), pairs)

    def merge(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """Return `weight` + scaling * B A, computed in float32, in the dtype of `weight`; `weight` itself where not adapted."""
        if name not in self.pairs:
            return weight
        down, up = (stored.read().to(torch.float32) for stored in self.pairs[name])
        return (weight.to(torch.float32) + self.scaling * (up @ down)).to(weight.dtype)


def refuse_unsupported(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuse adapters that are more than a low-rank addition to linear layers."""
    if settings.get("peft_type") != "LORA":
        raise DllmEdgeError(f"{folder}/adapter_config.json: peft_type is {settings.get('peft_type')!r}; supported: LORA")
    if settings.get("bias", "none") != "none":
        raise DllmEdgeError(f"{folder}/adapter_config.json: bias is {settings['bias']!r}; supported: none")
    more = ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias", "fan_in_fan_out", "layer_replication")
    for key in more:
        if settings.get(key):
            raise DllmEdgeError(f"{folder}/adapter_config.json: {key} is set, which is not supported: merge it with PEFT first")
    initialised = settings.get("init_lora_weights")
    if isinstance(initialised, str) and initialised.lower().startswith(CHANGED_BASE):
        raise DllmEdgeError(
            f"{folder}/adapter_config.json: init_lora_weights {initialised} changes the base weights: merge it with PEFT first"
        )


def adapter_pairs(file: Path, canonical: Mapping[str, str]) -> dict[str, tuple[StoredTensor, StoredTensor]]:
    """Return A and B of each adapted tensor by its canonical name; every key of the file must belong to one."""
    halves: dict[str, dict[str, StoredTensor]] = {}
    for key, stored in read_header(file).items():
        path, _, rest = key.partition(".lora_")
        weight = f"{path.removeprefix(PREFIX)}.weight"
        if rest not in ("A.weight", "B.weight") or not path.startswith(PREFIX) or weight not in canonical:
            raise DllmEdgeError(f"{file}: {key} fits no tensor of the checkpoint: the adapter is for another model")
        if len(stored.shape) != 2 or canonical[weight] == EMBEDDING:
            raise DllmEdgeError(f"{file}: {key} does not adapt a linear layer, which is all that is supported")
        halves.setdefault(canonical[weight], {})[rest[0]] = stored
    for name, pair in halves.items():
        if len(pair) != 2:
            raise DllmEdgeError(
                f"{file}: only lora_{next(iter(pair))} is there for {name}: the file is incomplete, save it again"
            )
    if not halves:
        raise DllmEdgeError(f"{file}: holds no LoRA tensors: the file is incomplete, save it again")
    return {name: (pair["A"], pair["B"]) for name, pair in halves.items()}
