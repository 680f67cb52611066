"""Tiny bundles in each weight format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from dllm_edge.export import bundle as export
from dllm_edge.runtime.bundle.bundle import Bundle

from .. import tiny

FAMILIES = ("llada", "dream", "fast-dllm-v2", "sdar", "llama")
FLAVOURS = ("fused", "portable")
# Inputs that larger groups divide.
WIDE = {"HIDDEN": 128, "INTERMEDIATE": 256, "HEADS": 8}


@dataclass(frozen=True)
class Format:
    """How weights are stored, by `export_bundle`'s names; `dtype` is what is computed in."""

    dtype: str
    layers: str = "plain"
    head: str = "plain"
    embedding: str = "plain"
    group: int = 32


# No more than keep `tensorrt.cases.FEW` at 30: each format of layers, head and embedding, each size of groups and each dtype is
# in one.
FORMATS = {
    "float32": Format("float32"),
    "float16": Format("float16"),
    "bfloat16": Format("bfloat16"),
    "int4": Format("bfloat16", "int4"),
    "int8": Format("float16", "int8", "int8", "int8", 64),
    "int8-int4": Format("bfloat16", "int8", "int4", "int8", 128),
}


def write_step_bundle(folder: Path, family: str, weights: str, flavour: str, *, twin: bool = False) -> Bundle:
    """Export a tiny model in one of `FORMATS` to `folder`; `twin` adds the graph that computes in float32: as long again."""
    form = FORMATS[weights]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in WIDE.items() if form.group > 32 else ():
            patch.setattr(tiny, name, value)
        if not twin:
            patch.setattr(export, "FLOAT32", form.dtype)
        return export.export_bundle(
            tiny.write_tiny(folder / "checkpoint", family, dtype=form.dtype),
            folder / "bundle",
            flavour=flavour,
            dtype=form.dtype,
            weights=form.layers,
            group=form.group,
            head_weights=form.head,
            embedding_weights=form.embedding,
        )
