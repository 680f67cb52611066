"""The reference of a validation: the torch step module in float32, with the bundle's own weights or the checkpoint's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx.external_data_helper import ExternalDataInfo

from ...graphs.contract import Flavour
from ...graphs.modules.step import Step
from ...graphs.modules.transformer import Transformer
from ...graphs.weight_formats import INTEGERS, SCALES, WeightFormat
from ...runtime.bundle.bundle import Bundle
from ...runtime.engines.host import NUMPY_DTYPES
from ..checkpoint.checkpoint import Checkpoint
from ..weights.embedding_words import from_words
from ..weights.encode import source_name
from ..weights.quantiser import Quantised, dequantise, quantise, unpack

STORED_TYPES = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BFLOAT16: "bfloat16",
}


def reference_step(bundle: Bundle, checkpoint: Checkpoint | None = None, flavour: Flavour = "fused") -> Step:
    """A step module of float32 compute; it takes 4 bytes of memory a weight."""
    config = bundle.manifest.weights.stored(bundle.config)
    step = Step(config, list(bundle.manifest.forbidden), flavour).eval()
    load_weights(step.transformer, bundle, checkpoint)
    return step


def load_weights(transformer: Transformer, bundle: Bundle, checkpoint: Checkpoint | None) -> None:
    """Fill the module tensor by tensor, as the bundle's files or, where one is given, the checkpoint's have them.

    The checkpoint's weights are rounded to the types and formats that the bundle stores, as an export would.
    """
    places = {} if checkpoint else _places(bundle)
    with torch.no_grad():
        for name, weight in transformer.named_parameters():
            weight_format = bundle.manifest.weights.of(name, tuple(weight.shape))
            if checkpoint:
                value = _rounded(checkpoint.read(source_name(checkpoint, name)), weight_format, _stored_type(bundle))
            elif weight_format.quantised:
                value = dequantise(_quantised(bundle.path, places[name + INTEGERS], places[name + SCALES]))
            else:
                value = _read(bundle.path, places[name])
            weight.copy_(value.reshape(weight.shape))


def _rounded(weight: torch.Tensor, weight_format: WeightFormat, stored: torch.dtype) -> torch.Tensor:
    return dequantise(quantise(weight, weight_format, stored)) if weight_format.quantised else weight.to(stored)


def _stored_type(bundle: Bundle) -> torch.dtype:
    kind = getattr(torch, bundle.manifest.stored)
    assert isinstance(kind, torch.dtype)
    return kind


def _places(bundle: Bundle) -> dict[str, onnx.TensorProto]:
    """The initializers of the bundle's first step graph that lie in its weight files, by name."""
    model = onnx.load(bundle.path / bundle.manifest.graphs["step"][0].file, load_external_data=False)
    return {tensor.name: tensor for tensor in model.graph.initializer if tensor.external_data}


def _quantised(folder: Path, integers: onnx.TensorProto, scales: onnx.TensorProto) -> Quantised:
    """Integers and scales of a weight `[outputs, inputs]`: of an embedding, and of others, that are stored transposed."""
    place, shape = ExternalDataInfo(integers), tuple(integers.dims)
    if integers.data_type == onnx.TensorProto.INT32:
        words = np.fromfile(folder / place.location, np.int32, int(np.prod(shape)), offset=place.offset or 0)
        return Quantised(from_words(torch.from_numpy(words).reshape(shape)), _read(folder, scales))
    packed = integers.data_type == onnx.TensorProto.INT4
    count = int(np.prod(shape)) // (2 if packed else 1)
    found = np.fromfile(folder / place.location, np.uint8 if packed else np.int8, count, offset=place.offset or 0)
    values = unpack(torch.from_numpy(found)) if packed else torch.from_numpy(found)
    return Quantised(values.reshape(shape).T, _read(folder, scales).T)


def _read(folder: Path, tensor: onnx.TensorProto) -> torch.Tensor:
    """A plain tensor in float32."""
    place = ExternalDataInfo(tensor)
    kind = NUMPY_DTYPES[STORED_TYPES[tensor.data_type]]  # type: ignore[index]
    count = int(np.prod(tuple(tensor.dims)))
    values = np.fromfile(folder / place.location, kind, count, offset=place.offset or 0)
    return torch.from_numpy(values.astype(np.float32)).reshape(tuple(tensor.dims))
