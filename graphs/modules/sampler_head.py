"""The head of a step: from logits to the few numbers that a host decides by."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class HeadOutputs(NamedTuple):
    """Dtypes and shapes as `contract.outputs` gives them."""

    topk_ids: Tensor
    topk_logits: Tensor
    logsumexp: Tensor
    entropy: Tensor
    target_logits: Tensor


class SamplerHead(nn.Module):
    """Candidates, log of the partition function, entropy, and the logits of ids asked for by name.

    `forbidden` ids (the mask token, ids that the tokenizer does not define) are never candidates, but they count in
    `logsumexp` and `entropy`, which are over the whole vocabulary.
    """

    forbidden: Tensor

    def __init__(self, vocab_size: int, forbidden: list[int], candidates: int) -> None:
        super().__init__()
        banned = torch.zeros(vocab_size, dtype=torch.bool)
        banned[forbidden] = True
        self.register_buffer("forbidden", banned, persistent=False)
        self.candidates = candidates

    def forward(self, logits: Tensor, target_ids: Tensor) -> HeadOutputs:
        """Return what a host decides by, from `logits` `[B, R, V]` float32 and `target_ids` `[B, R, T]` int64."""
        highest = logits.amax(-1, keepdim=True)
        below = logits - highest
        weights = torch.exp(below)
        total = weights.sum(-1, keepdim=True)
        logsumexp = highest + torch.log(total)
        # Against the highest logit, not zero: sums of large terms would cancel, and leave a thousandth of a nat.
        entropy = torch.log(total) - (weights * below).sum(-1, keepdim=True) / total
        allowed = torch.where(self.forbidden, torch.finfo(torch.float32).min, logits)
        best = torch.topk(allowed, self.candidates, dim=-1)
        return HeadOutputs(best.indices, best.values, logsumexp.squeeze(-1), entropy.squeeze(-1), logits.gather(-1, target_ids))
