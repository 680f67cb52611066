from __future__ import annotations

import numpy as np
import pytest
import torch

from dllm_edge.graphs.contract import Flavour
from dllm_edge.graphs.modules.attention import attend, rotary_frequencies, rotary_tables, rotate

HALF_STEP = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


def rotated(states: torch.Tensor, positions: list[int], theta: float) -> torch.Tensor:
    """By complex numbers, in float64."""
    half = states.shape[-1] // 2
    angles = np.array(positions)[:, None] / theta ** (np.arange(half) / half)
    turned = torch.complex(states[..., :half].double(), states[..., half:].double()) * torch.from_numpy(np.exp(1j * angles))
    return torch.cat((turned.real, turned.imag), -1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rotation_rounds_once_at_the_end_at_any_position(dtype: torch.dtype) -> None:
    """Positions that float16 cannot tell apart, in a dtype whose own products would round three times."""
    positions = [0, 1, 2047, 2049, 4093, 32767]
    states = torch.randn(1, 2, 6, 16, generator=torch.Generator().manual_seed(1)).to(dtype)
    tables = rotary_tables(torch.tensor([positions]), rotary_frequencies(16, 10_000.0))
    assert {table.dtype for table in tables} == {torch.float32}
    found, expected = rotate(states, *tables), rotated(states, positions, 10_000.0)
    assert found.dtype == dtype
    # Angles of float32 are off by up to 32767 * 2 ** -24.
    error = (found.double() - expected).abs() - 3e-3 * (torch.tensor(positions) > 4093)[:, None]
    assert (error <= HALF_STEP[dtype] * expected.abs() + 1e-3).all()


@pytest.mark.parametrize("flavour", ["fused", "portable"])
@pytest.mark.parametrize("heads", [2, 6])
def test_attention_by_hand(flavour: Flavour, heads: int) -> None:
    """Key heads shared by groups of neighbouring query heads; a row that sees one key alone has its value."""
    generator = torch.Generator().manual_seed(2)
    query, key, value = (torch.randn(2, count, rows, 8, generator=generator) for count, rows in ((heads, 5), (2, 9), (2, 9)))
    mask = torch.rand(2, 1, 5, 9, generator=generator) < 0.5
    mask[:, :, 0] = torch.arange(9) == 3
    mask[..., 0] |= ~mask.any(-1)
    found = attend(query, key, value, mask, flavour)
    for head in range(heads):
        shared = head * 2 // heads
        scores = query[:, head] @ key[:, shared].transpose(1, 2) / 8**0.5
        weights = torch.softmax(scores.masked_fill(~mask[:, 0], -torch.inf), -1)
        assert torch.allclose(found[:, head], weights @ value[:, shared], atol=1e-6)
        assert torch.allclose(found[:, head, 0], value[:, shared, 3], atol=1e-6)
