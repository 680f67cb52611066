from __future__ import annotations

from dllm_edge.export.tensorrt.operators import TABLE, operator_dtypes


def test_the_whole_table_is_read() -> None:
    """Below two lines, of which the one says what it is and the other names its columns."""
    portable = operator_dtypes("portable")
    assert len(portable) == TABLE.read_text(encoding="utf-8").count("\n") - 2
    assert portable["Abs"] == {"float32", "float16", "bfloat16", "int32", "int64"}
    assert portable["Xor"] == {"bool"}


def test_the_fused_flavour_has_two_more() -> None:
    assert operator_dtypes("fused").keys() - operator_dtypes("portable").keys() == {"Attention", "RMSNormalization"}
