from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from dllm_edge.export.weights.packing import pack, unpack


@pytest.mark.parametrize("shape", [(32, 6), (32, 7), (3, 2)])
def test_bytes_are_in_onnx_s_order(shape: tuple[int, int]) -> None:
    integers = torch.randint(-7, 8, shape, dtype=torch.int8, generator=torch.Generator().manual_seed(5))
    tensor = onnx.TensorProto(data_type=onnx.TensorProto.INT4, dims=shape, raw_data=pack(integers).numpy().tobytes())
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor).astype(np.int8), integers.numpy())
    assert torch.equal(unpack(pack(integers)).reshape(shape), integers)


def test_the_earlier_integer_is_the_lower_half() -> None:
    assert pack(torch.tensor([1, -2, -7, 7], dtype=torch.int8)).tolist() == [0xE1, 0x79]
