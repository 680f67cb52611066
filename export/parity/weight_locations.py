"""Whether a graph's weights lie where it says: names, dtypes, shapes and locations against the headers of the weight files."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto

from ...graphs.dtypes import DTYPES, DType
from ...graphs.joined_weights import stored_weights, whole_shape
from ...graphs.weight_formats import StoredPart
from ...runtime.bundle.bundle import Bundle
from ..checkpoint.safetensors import BUNDLE_DTYPES, read_header

INSIDE = {"head.forbidden", "head.forbidden_ids", "frequencies"}
# File, offset, length.
Location = tuple[str, int, int]


def check_weights(bundle: Bundle, model: onnx.ModelProto) -> Iterator[str]:
    """Yield what is wrong with the external weights of a step graph, one line each."""
    external = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_location == TensorProto.EXTERNAL}
    parts = expected_parts(bundle)
    if set(external) != set(parts):
        yield f"its weights are not the model's: {', '.join(sorted(set(external) ^ set(parts)))}"
    if missing := sorted(INSIDE - {tensor.name for tensor in model.graph.initializer}):
        yield f"it lacks {', '.join(missing)}"
    locations = _stored_locations(bundle)
    for name in external.keys() & parts.keys():
        yield from _weight(parts[name], external[name], locations)


def expected_parts(bundle: Bundle) -> dict[str, StoredPart]:
    """Return the tensors that a bundle of this model and these formats stores, by name."""
    manifest = bundle.manifest
    stored = stored_weights(manifest.weights.shapes(manifest.config), manifest.joined)
    shapes = {name: whole_shape(members) for name, members in stored.items()}
    parts = (part for name, shape in shapes.items() for part in manifest.weights.parts(name, shape, manifest.stored))
    return {part.name: part for part in parts}


def _stored_locations(bundle: Bundle) -> dict[Location, tuple[DType, tuple[int, ...]]]:
    """Return dtype and shape of every tensor in the bundle's weight files by its location, from their own headers."""
    locations = {}
    for file in bundle.manifest.files:
        if file.endswith(".safetensors") and (bundle.path / file).is_file():
            for tensor in read_header(bundle.path / file, BUNDLE_DTYPES).values():
                locations[file, tensor.offset, tensor.length] = (tensor.dtype, tensor.shape)
    return locations


def _weight(part: StoredPart, tensor: TensorProto, locations: dict[Location, tuple[DType, tuple[int, ...]]]) -> Iterator[str]:
    data = {entry.key: entry.value for entry in tensor.external_data}
    if tensor.data_type != DTYPES[part.dtype].onnx or tuple(tensor.dims) != part.shape:
        held = TensorProto.DataType.Name(tensor.data_type)
        yield f"{tensor.name} is {held} {list(tensor.dims)}, the model has {part.dtype} {list(part.shape)}"
        return
    location = (data.get("location", ""), int(data.get("offset", 0)), int(data.get("length", part.length)))
    packed = ("uint8", (part.length,)) if part.dtype == "int4" else (part.dtype, part.shape)
    if locations.get(location) != packed:
        yield f"{tensor.name} points to {location[0]} at byte {location[1]}, {location[2]} bytes, where there is no such tensor"
