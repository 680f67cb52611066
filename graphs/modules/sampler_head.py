"""The head of a step: from logits to the few numbers that a host decides by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .log1p import log1p


class HeadOutputs(NamedTuple):
    """Dtypes and shapes as `contract.outputs` gives them."""

    topk_ids: Tensor
    topk_log_probs: Tensor
    entropy: Tensor
    target_log_probs: Tensor


class SamplerHead(nn.Module):
    """Candidates and their log probabilities, entropy, and the log probabilities of ids asked for by name.

    `forbidden` ids (the mask token, ids that the tokenizer does not define) are never candidates, but they count in the
    distribution, which is over the whole vocabulary.
    """

    forbidden: Tensor
    forbidden_ids: Tensor

    def __init__(self, vocab_size: int, forbidden: list[int], candidates: int) -> None:
        super().__init__()
        banned = torch.zeros(vocab_size, dtype=torch.bool)
        banned[forbidden] = True
        self.register_buffer("forbidden", banned, persistent=False)
        self.register_buffer("forbidden_ids", torch.tensor(rivals(forbidden)).unsqueeze(-1), persistent=False)
        self.candidates = candidates

    def forward(self, logits: Tensor, target_ids: Tensor) -> HeadOutputs:
        """Return what a host decides by, from `logits` `[B, R, V]` float32 and `target_ids` `[B, R, T]` int64.

        Near 1, a probability's distance to 1 is the sum of the others' `exp(logit - highest)`: that sum is taken without the
        highest, whose term is 1, and never subtracted from anything.
        """
        # A sum, not a choice between two: on a CPU four times as fast.
        allowed = logits + torch.where(self.forbidden, torch.finfo(torch.float32).min, 0.0)
        best = torch.topk(allowed, self.candidates, dim=-1)
        highest, index = self._highest(logits, best.values[..., :1], best.indices[..., :1])
        below = logits - highest
        # A zero that is computed has its shape; a constant would have to be told it, by a CPU.
        weights = torch.exp(below).scatter(-1, index, highest - highest)
        others = weights.sum(-1, keepdim=True)
        normaliser = log1p(others)
        entropy = normaliser - (weights * below).sum(-1, keepdim=True) / (others + 1)
        return HeadOutputs(
            best.indices,
            best.values - highest - normaliser,
            entropy.squeeze(-1),
            below.gather(-1, target_ids) - normaliser,
        )

    def _highest(self, logits: Tensor, allowed: Tensor, allowed_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the highest logit of each row and one id that has it, `[B, R, 1]`, from the highest that is `allowed`.

        The others are few, and looked up by id: a second reduction would read the whole vocabulary again.
        """
        rival, place = torch.topk(logits.index_select(-1, self.forbidden_ids.squeeze(-1)), 1, dim=-1)
        ids = torch.where(rival > allowed, F.embedding(place.squeeze(-1), self.forbidden_ids), allowed_ids)
        return torch.maximum(rival, allowed), ids


def rivals(forbidden: Sequence[int]) -> list[int]:
    """Return the ids that a row's highest candidate is compared with: those `forbidden`, or any one, as there has to be one."""
    return list(forbidden) or [0]
