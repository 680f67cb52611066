from __future__ import annotations

import torch

from dllm_edge.export.weights.embedding_words import from_words, to_words


def extremes() -> torch.Tensor:
    """Rows with every combination of the extremes among a word's four integers, then random ones."""
    values = torch.tensor([-127, -1, 0, 1, 127], dtype=torch.int8)
    corners = torch.cartesian_prod(values, values, values, values)
    noise = torch.randint(-127, 128, (64, 4), dtype=torch.int8, generator=torch.Generator().manual_seed(2))
    return torch.cat((corners, noise)).repeat_interleave(8, dim=1)


def test_words_hold_their_integers() -> None:
    integers = extremes()
    words = to_words(integers)
    assert (words.dtype, words.shape) == (torch.int32, (len(integers), 8))
    assert torch.equal(from_words(words), integers)
    assert to_words(torch.tensor([[1, 2, 3, -4]], dtype=torch.int8)).item() == 128 + (129 << 8) + (130 << 16) - (4 << 24)
