"""The reference of a validation: the torch step module in float32, with the bundle's own weights or the checkpoint's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx.external_data_helper import ExternalDataInfo

from ...graphs.contract import Flavour
from ...graphs.dtypes import dtype_of_onnx
from ...graphs.joined_weights import stored_weights, whole_shape
from ...graphs.modules.step import StepModule
from ...graphs.modules.transformer import Transformer
from ...graphs.weight_formats import INTEGERS, SCALES, WeightFormat
from ...runtime.bundle.bundle import Bundle
from ..checkpoint.checkpoint import Checkpoint
from ..weights.embedding_words import from_words
from ..weights.packing import unpack
from ..weights.quantiser import Quantised, dequantise, round_to_nearest


def reference_step(bundle: Bundle, checkpoint: Checkpoint | None = None, flavour: Flavour = "fused") -> StepModule:
    """A step module of float32 compute; it takes 4 bytes of memory a weight."""
    config = bundle.manifest.weights.stored_config(bundle.config)
    step = StepModule(config, list(bundle.manifest.forbidden), flavour).eval()
    load_weights(step.transformer, bundle, checkpoint)
    return step


def load_weights(transformer: Transformer, bundle: Bundle, checkpoint: Checkpoint | None) -> None:
    """Fill the module tensor by tensor, as the bundle's files or, where one is given, the checkpoint's have them.

    The checkpoint's weights are rounded to the types and formats that the bundle stores, as an export would.
    """
    weights, formats = dict(transformer.named_parameters()), bundle.manifest.weights
    with torch.no_grad():
        if checkpoint is None:
            _load_stored(weights, bundle)
            return
        for name, weight in weights.items():
            weight_format = formats.of(name, tuple(weight.shape))
            weight.copy_(_rounded(checkpoint.read(checkpoint.source(name)), weight_format, _stored_dtype(bundle)))


def _load_stored(weights: Mapping[str, torch.Tensor], bundle: Bundle) -> None:
    tensors, formats = _stored_tensors(bundle), bundle.manifest.weights
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    for name, members in stored_weights(shapes, bundle.manifest.joined).items():
        if formats.of(name, whole_shape(members)).quantised:
            value = dequantise(_quantised(bundle.path, tensors[name + INTEGERS], tensors[name + SCALES]))
        else:
            value = _read(bundle.path, tensors[name])
        for member, rows in zip(members, value.split([shape[0] for shape in members.values()]), strict=True):
            weights[member].copy_(rows)


def _rounded(weight: torch.Tensor, weight_format: WeightFormat, stored: torch.dtype) -> torch.Tensor:
    return dequantise(round_to_nearest(weight, weight_format, stored)) if weight_format.quantised else weight.to(stored)


def _stored_dtype(bundle: Bundle) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, bundle.manifest.stored)
    return dtype


def _stored_tensors(bundle: Bundle) -> dict[str, onnx.TensorProto]:
    """The initializers of the bundle's first step graph that lie in its weight files, by name."""
    model = onnx.load(bundle.path / bundle.manifest.graphs["step"][0].file, load_external_data=False)
    return {tensor.name: tensor for tensor in model.graph.initializer if tensor.external_data}


def _quantised(folder: Path, integers: onnx.TensorProto, scales: onnx.TensorProto) -> Quantised:
    """Integers and scales of a weight `[outputs, inputs]`: of an embedding, and of others, that are stored transposed."""
    file, shape = ExternalDataInfo(integers), tuple(integers.dims)
    if integers.data_type == onnx.TensorProto.INT32:
        words = np.fromfile(folder / file.location, np.int32, int(np.prod(shape)), offset=file.offset or 0)
        return Quantised(from_words(torch.from_numpy(words).reshape(shape)), _read(folder, scales))
    packed = integers.data_type == onnx.TensorProto.INT4
    count = int(np.prod(shape)) // (2 if packed else 1)
    found = np.fromfile(folder / file.location, np.uint8 if packed else np.int8, count, offset=file.offset or 0)
    values = unpack(torch.from_numpy(found)) if packed else torch.from_numpy(found)
    return Quantised(values.reshape(shape).T, _read(folder, scales).T)


def _read(folder: Path, tensor: onnx.TensorProto) -> torch.Tensor:
    """A plain tensor in float32."""
    file = ExternalDataInfo(tensor)
    count = int(np.prod(tuple(tensor.dims)))
    values = np.fromfile(folder / file.location, dtype_of_onnx(tensor.data_type).numpy, count, offset=file.offset or 0)
    return torch.from_numpy(values.astype(np.float32)).reshape(tuple(tensor.dims))
