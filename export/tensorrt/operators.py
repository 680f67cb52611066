"""What the portable flavour may use: the operators that TensorRT takes from 10.3 on, and in which dtypes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("operators.tsv")
FLOATS = frozenset({"float32", "float16", "bfloat16"})
# What TensorRT 10.15 and later, and TensorRT-RTX, take beside it.
FUSED_OPERATORS = {"Attention": FLOATS, "RMSNormalization": FLOATS}


@cache
def operator_dtypes(flavour: str) -> dict[str, frozenset[str]]:
    """Return by operator the dtypes that it may run in, for the `fused` or the `portable` flavour."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()[2:]
    rows = (line.split("\t") for line in lines)
    portable = {name: frozenset(dtypes.split()) for name, dtypes, _ in rows}
    return portable | FUSED_OPERATORS if flavour == "fused" else portable
