"""The feed-forward part of a layer: what a layer does to each row by itself, whatever computes it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ..config import ModelConfig
from .linear import Linear


class FeedForward(nn.Module):
    """What a layer knows of its feed-forward part: `[B, Q, hidden_size]` in and out, both in the compute dtype.

    All parameters are those of child modules: a layer takes these over under their own names (`mount`).
    """

    def forward(self, states: Tensor) -> Tensor:
        raise NotImplementedError

    def mount(self, layer: nn.Module) -> None:
        """Make the children children of `layer` and this module its attribute `feed_forward`, which is no child.

        So a layer's parameters are named as checkpoints, bundles and graphs name them (`layers.0.gate.weight`), and moving,
        casting or loading the layer does the same to what computes here.
        """
        assert not [*self.parameters(recurse=False), *self.buffers(recurse=False)]
        for name, child in self.named_children():
            layer.add_module(name, child)
        object.__setattr__(layer, "feed_forward", self)


class GatedFeedForward(FeedForward):
    """SwiGLU: the rows through `down`, of `up` weighted by the SiLU of `gate`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        hidden, wide, bias = config.hidden_size, config.intermediate_size, config.feed_forward_bias
        self.gate = Linear(hidden, wide, bias=bias)
        self.up = Linear(hidden, wide, bias=bias)
        self.down = Linear(wide, hidden, bias=bias)

    def forward(self, states: Tensor) -> Tensor:
        weighted: Tensor = self.down(F.silu(self.gate(states)) * self.up(states))
        return weighted


def feed_forward_of(config: ModelConfig) -> FeedForward:
    """Return the feed-forward part that the model's layers have, with parameters of its own."""
    return GatedFeedForward(config)
