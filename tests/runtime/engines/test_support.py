from __future__ import annotations

from itertools import product

import pytest

from dllm_edge.graphs.dtypes import FLOATS, DType
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.weight_formats import ALL_PLAIN, GROUPS, WeightFormat, WeightFormats
from dllm_edge.runtime.engines.support import Use, check_taken, findings, level_of, row_of, rows_of, version_of
from dllm_edge.runtime.engines.support_table import TABLE, EngineRow, Version


def linear(name: str, group: int) -> WeightFormats:
    return WeightFormats(linear=WeightFormat(name, group))


@pytest.mark.parametrize(
    ("text", "version"),
    [("10.16.1.11", (10, 16)), ("1.7.1", (1, 7)), ("sm87", (8, 7)), ("sm120", (12, 0)), ("8.7", (8, 7)), ("11.0", (11, 0))],
)
def test_versions_and_compute_capabilities(text: str, version: Version) -> None:
    assert version_of(text) == version


@pytest.mark.parametrize(
    ("use", "level"),
    [
        (Use("tensorrt", (10, 3), (8, 7), "portable", "bfloat16"), "expected"),
        (Use("tensorrt", (10, 3), (8, 7), "fused", "bfloat16"), "refused"),
        (Use("tensorrt", (10, 3), (8, 7), "portable", "bfloat16", linear("int8", 128)), "refused"),
        (Use("tensorrt", (10, 3), (8, 7), "portable", "bfloat16", linear("int4", 64)), "unknown"),
        (Use("tensorrt", (10, 4), (8, 7), "portable", "bfloat16", linear("int8", 64)), "unknown"),
        (Use("tensorrt", (10, 14), (8, 7), "fused", "bfloat16"), "refused"),
        (Use("tensorrt", (10, 16), (8, 7), "fused", "bfloat16", linear("int4", 64)), "expected"),
        (Use("tensorrt", (11, 4), (8, 7), "fused", "bfloat16", linear("int4", 32)), "unknown"),
        (Use("tensorrt", (11, 4), (8, 7), "fused", "bfloat16", WeightFormats(head=WeightFormat("int8", 64))), "unknown"),
        (Use("tensorrt", (11, 4), (8, 7), "fused", "bfloat16", WeightFormats(embedding=WeightFormat("int8", 32))), "expected"),
        (Use("tensorrt", (11, 4), (7, 5), "fused", "bfloat16"), "refused"),
        (Use("tensorrt", (11, 4), (7, 5), "fused", "float16"), "expected"),
        (Use("tensorrt", (11, 4), (7, 0), "fused", "float16"), "refused"),
        (Use("tensorrt", (11, 4), (12, 1), "fused", "bfloat16"), "expected"),
        (Use("tensorrt-rtx", (1, 7), (8, 6), "fused", "bfloat16", linear("int8", 32)), "built"),
        (Use("tensorrt-rtx", (1, 7), (12, 1), "fused", "bfloat16"), "expected"),
        (Use("tensorrt-rtx", (1, 7), (8, 0), "fused", "float16"), "refused"),
        (Use("tensorrt-rtx", (1, 7), (9, 0), "fused", "float16"), "refused"),
        (Use("tensorrt-rtx", (1, 7), (8, 7), "portable", "float16"), "refused"),
        (Use("onnxruntime-x86_64", (1, 31), None, "fused", "float32", linear("int4", 32)), "run"),
        (Use("onnxruntime-x86_64", (1, 23), None, "fused", "float32"), "refused"),
        (Use("onnxruntime-aarch64", (1, 31), None, "fused", "float32"), "expected"),
        (Use("onnxruntime-cuda", (1, 31), (9, 0), "fused", "float16", linear("int4", 64)), "expected"),
    ],
)
def test_how_far_a_use_is_known(use: Use, level: str) -> None:
    assert level_of(use) == level
    assert bool(findings(use)) == (level in ("unknown", "refused"))
    if level == "refused":
        with pytest.raises(DllmEdgeError, match=r": not taken by .* \(.+\): use --"):
            check_taken(use)
    else:
        check_taken(use)


def test_what_is_refused_comes_first() -> None:
    both = WeightFormats(WeightFormat("int4", 64), WeightFormat("int8", 64))
    levels = [finding.known.level for finding in findings(Use("tensorrt", (10, 3), (8, 7), "portable", "float16", both))]
    assert levels == ["refused", "unknown"]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.title)
def test_each_row_answers_for_every_format_and_dtype(row: EngineRow) -> None:
    formats = [ALL_PLAIN, *(linear(name, group) for name, group in product(("int8", "int4"), GROUPS))]
    dtypes: tuple[DType, ...] = FLOATS
    for flavour, dtype, form in product(("fused", "portable"), dtypes, formats):
        assert level_of(Use(row.engine, row.first, (8, 9), flavour, dtype, form))


@pytest.mark.parametrize("engine", sorted({row.engine for row in TABLE}))
def test_the_rows_of_an_engine_leave_no_version_out(engine: str) -> None:
    rows = rows_of(engine)
    assert rows[0].before is None
    assert [row.before for row in rows[1:]] == [row.first for row in rows[:-1]]
    oldest = rows[-1].first
    assert row_of(engine, oldest) == rows[-1]
    with pytest.raises(LookupError):
        row_of(engine, (oldest[0], oldest[1] - 1))
