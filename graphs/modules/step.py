"""The step module: the transformer and the head behind the contract's flat list of inputs and outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .. import contract
from ..config import ModelConfig
from ..contract import Flavour
from .sampler_head import SamplerHead
from .transformer import LayerCache, Transformer


class StepModule(nn.Module):
    """One step as `contract` describes it; weights are those of `transformer`, under the same names."""

    def __init__(
        self, config: ModelConfig, forbidden: list[int], flavour: Flavour = "fused", compute_dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.transformer = Transformer(config, flavour, compute_dtype)
        self.head = SamplerHead(config.vocab_size, forbidden, contract.top_k(config, len(forbidden)))

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        attention_mask: Tensor,
        logit_rows: Tensor,
        target_ids: Tensor,
        saliency_weights: Tensor,
        *past: Tensor,
    ) -> tuple[Tensor, ...]:
        """Run one step; inputs and outputs are in the order of `contract.inputs` and `contract.outputs`."""
        caches = [LayerCache(key, value) for key, value in zip(past[::2], past[1::2], strict=True)]
        states = self.transformer(input_ids, position_ids, attention_mask, caches)
        rows = logit_rows.unsqueeze(-1).expand(-1, -1, states.hidden.shape[-1])
        head = self.head(self.transformer.logits(states.hidden.gather(1, rows)), target_ids)
        return *head, self.saliency(states.queries, saliency_weights), *(part for cache in states.caches for part in cache)

    def saliency(self, queries: list[Tensor], weights: Tensor) -> Tensor:
        """Return the weighted sum over rows of each key head's mean query, `[B, layers, Hkv, D]` float32."""
        kv_heads = self.transformer.config.kv_heads
        means = [query.to(torch.float32).unflatten(1, (kv_heads, -1)).mean(2) for query in queries]
        # Not a matrix product: of such thin ones ONNX Runtime has cuBLAS look up each matrix by an uploaded pointer.
        return torch.stack([(mean * weights[:, None, :, None]).sum(2) for mean in means], dim=1)
