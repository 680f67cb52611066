"""Bytes of a model's weights: in a bundle, in memory, read by a step."""

from __future__ import annotations

from ...graphs.config import ModelConfig
from ...graphs.dtypes import DTYPES
from ...graphs.parameters import EMBEDDING, LM_HEAD, parameter_count, parameter_shapes
from ...graphs.weight_formats import stored_bytes, weight_bytes
from .model import Precision


def stored_weight_bytes(config: ModelConfig, precision: Precision) -> int:
    """Return the bytes of all weights, as a bundle holds them."""
    return weight_bytes(config, precision.dtype, precision.formats)


def read_weight_bytes(config: ModelConfig, precision: Precision) -> int:
    """Return the bytes of weights that one step reads: all, but of an embedding that is not the LM head, too, a few rows."""
    whole = stored_weight_bytes(config, precision)
    return whole if LM_HEAD not in precision.formats.shapes(config) else whole - embedding_bytes(config, precision)


def cpu_weight_bytes(config: ModelConfig, precision: Precision) -> int:
    """Return the bytes of weights as ONNX Runtime's CPU provider holds them: plain ones as float32, integers as they are."""
    return weight_bytes(config, "float32", precision.formats)


def folded_weight_bytes(config: ModelConfig, precision: Precision) -> int:
    """Return the bytes in float32 of what it casts while it loads a bundle: plain weights of another dtype, no embedding."""
    if precision.dtype == "float32":
        return 0
    formats = precision.formats
    plain = {name: shape for name, shape in formats.shapes(config).items() if not formats.of(name, shape).quantised}
    if LM_HEAD in formats.shapes(config):
        plain.pop(EMBEDDING, None)
    return DTYPES["float32"].nbytes(parameter_count(plain))


def layer_parameters(config: ModelConfig) -> int:
    """Return how many parameters the layers have, which every row passes through."""
    shapes = parameter_shapes(config)
    return parameter_count({name: shape for name, shape in shapes.items() if name not in (EMBEDDING, LM_HEAD)})


def embedding_bytes(config: ModelConfig, precision: Precision) -> int:
    """Return the bytes of the embedding, as a bundle holds it."""
    return stored_bytes((config.vocab_size, config.hidden_size), precision.dtype, precision.formats.embedding)
