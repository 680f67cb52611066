"""The contract of the one graph that a device runs: names, axes and types of a step's inputs and outputs.

A step takes `Q` query tokens with explicit positions and a read-only cache of `C` slots, attends to whatever the mask
shows among the `C` cached and the `Q` own keys, and returns the few numbers that a host needs to decide, plus the keys
and values of its own rows. Axes: `B` batch, `Q` queries, `C` capacity, `R` logit rows, `T` targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

from .config import ModelConfig

CONTRACT_VERSION = 1
TOP_K = 32

AXES = ("B", "Q", "C", "R", "T")
Flavour = Literal["fused", "portable"]
DType = Literal["int64", "bool", "float32", "float16", "bfloat16"]
ITEM_SIZES: dict[DType, int] = {"int64": 8, "bool": 1, "float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Profile:
    """The sizes of one step."""

    batch: int
    queries: int
    capacity: int
    rows: int
    targets: int = 1

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
        return prod(self.sized(sizes)) * ITEM_SIZES[self.dtype]

    def sized(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape where the named axes have these sizes."""
        return tuple(axis if isinstance(axis, int) else sum(sizes[part] for part in axis.split(" + ")) for axis in self.axes)


def past_names(layer: int) -> tuple[str, str]:
    return f"past_key_values.{layer}.key", f"past_key_values.{layer}.value"


def new_names(layer: int) -> tuple[str, str]:
    return f"new_key_values.{layer}.key", f"new_key_values.{layer}.value"


def top_k(config: ModelConfig, forbidden: int) -> int:
    """How many candidates a row reports: `TOP_K`, or every allowed id of a smaller vocabulary."""
    return min(TOP_K, config.vocab_size - forbidden)


def inputs(config: ModelConfig, cache: DType) -> list[TensorSpec]:
    """Inputs in the graph's order; `cache` is the type of the cached keys and values."""
    slots = ("B", config.kv_heads, "C", config.head_dim)
    return [
        TensorSpec("input_ids", "int64", ("B", "Q")),
        TensorSpec("position_ids", "int64", ("B", "Q")),
        TensorSpec("attention_mask", "bool", ("B", 1, "Q", "C + Q")),
        TensorSpec("logit_rows", "int64", ("B", "R")),
        TensorSpec("target_ids", "int64", ("B", "R", "T")),
        TensorSpec("saliency_weights", "float32", ("B", "Q")),
        *(TensorSpec(name, cache, slots) for layer in range(config.layers) for name in past_names(layer)),
    ]


def outputs(config: ModelConfig, cache: DType, candidates: int) -> list[TensorSpec]:
    """Outputs in the graph's order; `candidates` is K, as `top_k` gives it."""
    rows = ("B", config.kv_heads, "Q", config.head_dim)
    return [
        TensorSpec("topk_ids", "int64", ("B", "R", candidates)),
        TensorSpec("topk_logits", "float32", ("B", "R", candidates)),
        TensorSpec("logsumexp", "float32", ("B", "R")),
        TensorSpec("entropy", "float32", ("B", "R")),
        TensorSpec("target_logits", "float32", ("B", "R", "T")),
        TensorSpec("saliency_queries", "float32", ("B", config.layers, config.kv_heads, config.head_dim)),
        *(TensorSpec(name, cache, rows) for layer in range(config.layers) for name in new_names(layer)),
    ]


def saliency_inputs(config: ModelConfig, cache: DType) -> list[TensorSpec]:
    """Of the cache operation `saliency`: one lane's keys and values by turns, of every layer, and the layers' mean queries."""
    return [
        TensorSpec("slots", cache, (2 * config.layers, config.kv_heads, "C", config.head_dim)),
        TensorSpec("queries", "float32", (config.layers, config.kv_heads, config.head_dim)),
    ]


def saliency_outputs(config: ModelConfig) -> list[TensorSpec]:
    """Mean over key heads of query times key."""
    return [TensorSpec("scores", "float32", (config.layers, "C"))]


def select_inputs(config: ModelConfig, cache: DType) -> list[TensorSpec]:
    """Of the cache operation `select`: one lane's keys and values as rows (`N`), and the places of those to keep (`M`)."""
    return [TensorSpec("rows", cache, ("N", config.head_dim)), TensorSpec("places", "int64", ("M",))]


def select_outputs(config: ModelConfig, cache: DType) -> list[TensorSpec]:
    return [TensorSpec("kept", cache, ("M", config.head_dim))]


def select_sizes(config: ModelConfig, source: int, target: int) -> dict[str, int]:
    """The axes of `select` between lanes of `source` and of `target` slots."""
    heads = 2 * config.layers * config.kv_heads
    return {"N": heads * source, "M": heads * target}


def interface(graph: str, config: ModelConfig, cache: DType, candidates: int) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs of a bundle's graph `step`, `saliency` or `select`."""
    if graph == "saliency":
        return saliency_inputs(config, cache), saliency_outputs(config)
    if graph == "select":
        return select_inputs(config, cache), select_outputs(config, cache)
    return inputs(config, cache), outputs(config, cache, candidates)


def cache_bytes(config: ModelConfig, cache: DType, slots: int) -> int:
    """Bytes of the keys and values of `slots` slots over all layers."""
    return 2 * config.layers * config.kv_heads * slots * config.head_dim * ITEM_SIZES[cache]
