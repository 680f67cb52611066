"""The contract of the graphs that a device runs: names, axes and dtypes of their inputs and outputs.

A step takes `Q` query tokens with explicit positions and a read-only cache of `C` slots, attends to whatever the mask
shows among the `C` cached and the `Q` own keys, and returns the few numbers that a host needs to decide, plus the keys
and values of its own rows. Axes: `B` batch, `Q` queries, `C` capacity, `R` logit rows, `T` targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Annotated, Literal

from .config import ModelConfig
from .dtypes import DTYPES, DType
from .schema import Range

CONTRACT_VERSION = 2
TOP_K = 32

AXES = ("B", "Q", "C", "R", "T")
Flavour = Literal["fused", "portable"]
Size = Annotated[int, Range(1, 1 << 31)]
"""Of an axis, as a field that is read: TensorRT and ONNX Runtime count elements of one in 32 bits."""


@dataclass(frozen=True)
class Profile:
    """The sizes of one step."""

    batch: Size
    queries: Size
    capacity: Size
    rows: Size
    targets: Size = 1

    def sizes(self) -> dict[str, int]:
        return dict(zip(AXES, (self.batch, self.queries, self.capacity, self.rows, self.targets), strict=True))


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: an axis is a name (of a step: a letter of `AXES`), a sum of two (`"C + Q"`), or a number."""

    name: str
    dtype: DType
    axes: tuple[str | int, ...]

    def shape(self, profile: Profile) -> tuple[int, ...]:
        return self.sized(profile.sizes())

    def nbytes(self, sizes: Mapping[str, int]) -> int:
        """Return the bytes of the tensor where the named axes have these sizes."""
        return DTYPES[self.dtype].nbytes(prod(self.sized(sizes)))

    def sized(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape where the named axes have these sizes."""
        return tuple(axis if isinstance(axis, int) else sum(sizes[part] for part in axis.split(" + ")) for axis in self.axes)


def past_names(layer: int) -> tuple[str, str]:
    return f"past_key_values.{layer}.key", f"past_key_values.{layer}.value"


def new_names(layer: int) -> tuple[str, str]:
    return f"new_key_values.{layer}.key", f"new_key_values.{layer}.value"


def top_k(config: ModelConfig, forbidden: int) -> int:
    """Return how many candidates a row reports: `TOP_K`, or every allowed id of a smaller vocabulary."""
    return min(TOP_K, config.vocab_size - forbidden)


def inputs(config: ModelConfig, cache_dtype: DType) -> list[TensorSpec]:
    """Return a step's inputs in the graph's order; `cache_dtype` is that of the cached keys and values."""
    slots = ("B", config.kv_heads, "C", config.head_dim)
    return [
        TensorSpec("input_ids", "int64", ("B", "Q")),
        TensorSpec("position_ids", "int64", ("B", "Q")),
        TensorSpec("attention_mask", "bool", ("B", 1, "Q", "C + Q")),
        TensorSpec("logit_rows", "int64", ("B", "R")),
        TensorSpec("target_ids", "int64", ("B", "R", "T")),
        TensorSpec("saliency_weights", "float32", ("B", "Q")),
        *(TensorSpec(name, cache_dtype, slots) for layer in range(config.layers) for name in past_names(layer)),
    ]


def outputs(config: ModelConfig, cache_dtype: DType, candidates: int) -> list[TensorSpec]:
    """Return a step's outputs in the graph's order; `candidates` is K, as `top_k` gives it."""
    rows = ("B", config.kv_heads, "Q", config.head_dim)
    return [
        TensorSpec("topk_ids", "int64", ("B", "R", candidates)),
        TensorSpec("topk_log_probs", "float32", ("B", "R", candidates)),
        TensorSpec("entropy", "float32", ("B", "R")),
        TensorSpec("target_log_probs", "float32", ("B", "R", "T")),
        TensorSpec("saliency_queries", "float32", ("B", config.layers, config.kv_heads, config.head_dim)),
        *(TensorSpec(name, cache_dtype, rows) for layer in range(config.layers) for name in new_names(layer)),
    ]


def saliency_inputs(config: ModelConfig, cache_dtype: DType) -> list[TensorSpec]:
    """Return the inputs of `saliency`: one lane's keys and values by turns, of every layer, and the layers' mean queries."""
    return [
        TensorSpec("slots", cache_dtype, (2 * config.layers, config.kv_heads, "C", config.head_dim)),
        TensorSpec("queries", "float32", (config.layers, config.kv_heads, config.head_dim)),
    ]


def saliency_outputs(config: ModelConfig) -> list[TensorSpec]:
    """Return the output of `saliency`: the mean over key heads of query times key."""
    return [TensorSpec("scores", "float32", (config.layers, "C"))]


def select_inputs(config: ModelConfig, cache_dtype: DType) -> list[TensorSpec]:
    """Return the inputs of `select`: one lane's keys and values as rows (`N`), and the indices of those to keep (`M`)."""
    return [TensorSpec("rows", cache_dtype, ("N", config.head_dim)), TensorSpec("places", "int64", ("M",))]


def select_outputs(config: ModelConfig, cache_dtype: DType) -> list[TensorSpec]:
    """Return the output of `select`: the rows that stay, in the order of their indices."""
    return [TensorSpec("kept", cache_dtype, ("M", config.head_dim))]


def select_sizes(config: ModelConfig, source: int, target: int) -> dict[str, int]:
    """Return the axes of `select` between lanes of `source` and of `target` slots."""
    heads = 2 * config.layers * config.kv_heads
    return {"N": heads * source, "M": heads * target}


@dataclass(frozen=True)
class Graph:
    """One graph of a bundle: its inputs by model and cache dtype, its outputs by these and K, and its axes.

    `sizes` gives the named axes of one size of the graph: a step's five in the order of `AXES`, or the capacities of the
    caches that an operation works on.
    """

    inputs: Callable[[ModelConfig, DType], list[TensorSpec]]
    outputs: Callable[[ModelConfig, DType, int], list[TensorSpec]]
    sizes: Callable[[ModelConfig, tuple[int, ...]], dict[str, int]]


STEP = "step"
GRAPHS: dict[str, Graph] = {
    STEP: Graph(inputs, outputs, lambda _, size: Profile(*size).sizes()),
    "saliency": Graph(
        saliency_inputs, lambda config, _dtype, _candidates: saliency_outputs(config), lambda _, size: {"C": size[0]}
    ),
    "select": Graph(
        select_inputs,
        lambda config, cache_dtype, _: select_outputs(config, cache_dtype),
        lambda config, size: select_sizes(config, *size),
    ),
}
"""Every graph that a bundle holds: the step, and the cache operations that a device runs as graphs."""
CACHE_OPERATIONS = tuple(name for name in GRAPHS if name != STEP)


def interface(
    graph: str, config: ModelConfig, cache_dtype: DType, candidates: int
) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Return the inputs and outputs of one of `GRAPHS`."""
    return GRAPHS[graph].inputs(config, cache_dtype), GRAPHS[graph].outputs(config, cache_dtype, candidates)


def input_shapes(graph: str, config: ModelConfig, cache_dtype: DType, size: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each input of one of `GRAPHS` at one of its sizes (see `Graph`)."""
    axes = GRAPHS[graph].sizes(config, size)
    return {spec.name: spec.sized(axes) for spec in GRAPHS[graph].inputs(config, cache_dtype)}


def cache_bytes(config: ModelConfig, cache_dtype: DType, slots: int) -> int:
    """Return the bytes of the keys and values of `slots` slots over all layers."""
    return DTYPES[cache_dtype].nbytes(2 * config.layers * config.kv_heads * slots * config.head_dim)
