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
        # A sum and not a choice between two, which takes a CPU longer.
        allowed = logits + torch.where(self.forbidden, torch.finfo(torch.float32).min, 0.0)
        best = torch.topk(allowed, self.candidates, dim=-1)
        rival, rival_id = self._rival(logits)
        first, beaten = best.values[..., :1], rival > best.values[..., :1]
        highest = torch.maximum(rival, first)
        below, behind = logits - highest, best.values - highest
        near = self._weights(best.values, behind, highest)
        # The candidates are summed apart: thousands of terms lose their digits in a sum that has a large one already.
        counted = torch.cat((best.indices, torch.where(beaten, rival_id, best.indices[..., :1])), -1)
        # Zeros that are computed have their shape; a constant would have to be told it, by a CPU.
        far = torch.exp(below).scatter(-1, counted, torch.cat((behind, rival), -1) * 0.0)
        others = far.sum(-1, keepdim=True) + near[..., 1:].sum(-1, keepdim=True) + torch.where(beaten, near[..., :1], 0.0)
        normaliser = log1p(others)
        spread = (far * below).sum(-1, keepdim=True) + (near * behind).sum(-1, keepdim=True)
        entropy = normaliser - spread / (others + 1)
        return HeadOutputs(best.indices, behind - normaliser, entropy.squeeze(-1), below.gather(-1, target_ids) - normaliser)

    def _rival(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the highest logit of the forbidden ids and the id that has it, `[B, R, 1]` each.

        They are few, and looked up by id: a second reduction would read the whole vocabulary again.
        """
        rival, place = torch.topk(logits.index_select(-1, self.forbidden_ids.squeeze(-1)), 1, dim=-1)
        return rival, F.embedding(place.squeeze(-1), self.forbidden_ids)

    @staticmethod
    def _weights(values: Tensor, behind: Tensor, highest: Tensor) -> Tensor:
        """Return `exp(values - highest)` where `behind` is that difference, without what rounding took from it."""
        return torch.exp(behind) * (values - (behind + highest) + 1)


def rivals(forbidden: Sequence[int]) -> list[int]:
    """Return the ids that a row's highest candidate is compared with: those `forbidden`, or any one, as there has to be one."""
    return list(forbidden) or [0]
