"""The table of dtypes against the libraries whose names and numbers it holds."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

from dllm_edge.export.checkpoint.safetensors import read_header
from dllm_edge.graphs.dtypes import DTYPES, FLOATS, DType, dtype_of_onnx, parse_dtype, safetensors_dtypes
from dllm_edge.graphs.errors import DllmEdgeError

WHOLE_BYTES = [dtype for dtype in DTYPES if dtype != "int4"]


def test_every_dtype_is_in_the_table_once() -> None:
    assert tuple(DTYPES) == get_args(DType)
    assert all(element_type.name == name for name, element_type in DTYPES.items())


@pytest.mark.parametrize("dtype", DTYPES)
def test_onnx_s_numbers(dtype: DType) -> None:
    number = DTYPES[dtype].onnx
    assert TensorProto.DataType.Name(number) == {"float32": "FLOAT"}.get(dtype, dtype.upper())
    assert helper.tensor_dtype_to_np_dtype(number) == DTYPES[dtype].numpy
    assert dtype_of_onnx(number).name == dtype


@pytest.mark.parametrize("dtype", WHOLE_BYTES)
def test_sizes(dtype: DType) -> None:
    size = getattr(torch, dtype).itemsize
    assert (DTYPES[dtype].itemsize, DTYPES[dtype].numpy.itemsize, DTYPES[dtype].nbytes(7)) == (size, size, 7 * size)


def test_integers_of_4_bits_are_two_to_a_byte() -> None:
    assert [DTYPES["int4"].nbytes(count) for count in (0, 1, 2, 64)] == [0, 1, 1, 32]
    with pytest.raises(AssertionError, match="no whole number of bytes"):
        _ = DTYPES["int4"].itemsize


@pytest.mark.parametrize("dtype", WHOLE_BYTES)
def test_safetensors_names(tmp_path: Path, dtype: DType) -> None:
    save_file({"tensor": torch.zeros(2, 3, dtype=getattr(torch, dtype))}, tmp_path / "file")
    assert read_header(tmp_path / "file", safetensors_dtypes([dtype]))["tensor"].dtype == dtype


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8", "bool", *FLOATS])
def test_onnx_runtime_s_names(dtype: DType) -> None:
    values = [helper.make_tensor_value_info(name, DTYPES[dtype].onnx, [2]) for name in ("inside", "outside")]
    graph = helper.make_graph([helper.make_node("Identity", ["inside"], ["outside"])], "one", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == DTYPES[dtype].onnxruntime


def test_a_dtype_that_users_name() -> None:
    assert [parse_dtype(name) for name in FLOATS] == list(FLOATS)
    with pytest.raises(DllmEdgeError, match=r"^unknown dtype 'int8': choose one of float32, float16, bfloat16$"):
        parse_dtype("int8")
    with pytest.raises(DllmEdgeError, match=r"^unknown dtype 'half': choose one of auto, float32, float16, bfloat16$"):
        parse_dtype("half", besides=("auto",))
