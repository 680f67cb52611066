"""A layer and its feed-forward part: parameters under the layer's own names, whatever the part is."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.families import family_of
from dllm_edge.graphs.modules import transformer
from dllm_edge.graphs.modules.feed_forward import FeedForward, GatedFeedForward
from dllm_edge.graphs.modules.transformer import Layer, Transformer

from ...tiny import config_json

IDS = torch.arange(6)[None]
MASK = torch.ones(1, 1, 6, 6, dtype=torch.bool)


@pytest.fixture
def config() -> ModelConfig:
    data = config_json("llama")
    return replace(family_of(data).config(data), layers=1)


def run(model: Transformer) -> Tensor:
    with torch.inference_mode():
        return model.logits(model(IDS, IDS, MASK).hidden)


def test_names_are_the_layer_s_own(config: ModelConfig) -> None:
    layer = Layer(replace(config, feed_forward_bias=True), "fused")
    own = [name for name, _ in layer.named_parameters() if name.split(".")[0] in ("gate", "up", "down")]
    assert own == ["gate.weight", "gate.bias", "up.weight", "up.bias", "down.weight", "down.bias"]
    assert "feed_forward" not in dict(layer.named_modules())


def test_it_is_silu_of_the_gate_times_up_through_down(config: ModelConfig) -> None:
    part, states = GatedFeedForward(config), torch.randn(2, 3, config.hidden_size)
    gate = states @ part.gate.weight.T
    expected = (gate * torch.sigmoid(gate) * (states @ part.up.weight.T)) @ part.down.weight.T
    torch.testing.assert_close(part(states), expected)


def test_what_is_done_to_a_layer_is_done_to_its_part(config: ModelConfig) -> None:
    layer = Layer(config, "fused").to(torch.bfloat16)
    part = layer.feed_forward
    assert {weight.dtype for weight in part.parameters()} == {torch.bfloat16}
    layer.load_state_dict({name: torch.zeros_like(weight) for name, weight in layer.state_dict().items()}, assign=True)
    assert all(not weight.any() for weight in part.parameters())
    with torch.device("meta"):
        absent = Layer(config, "fused")
    assert {weight.device.type for weight in absent.to_empty(device="cpu").feed_forward.parameters()} == {"cpu"}


def test_a_copy_has_a_part_of_its_own(config: ModelConfig) -> None:
    model = Transformer(config)
    before, twin = run(model), copy.deepcopy(model)
    with torch.no_grad():
        twin.get_parameter("layers.0.down.weight").zero_()
    assert torch.equal(run(model), before)
    assert not torch.equal(run(twin), before)


def test_layers_can_be_compiled(config: ModelConfig) -> None:
    model = Transformer(config)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(IDS, IDS, MASK).hidden, model(IDS, IDS, MASK).hidden)


class TwoExperts(FeedForward):
    """Half of each of two experts, where a mixture would choose."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.experts = nn.ModuleList(GatedFeedForward(config) for _ in range(2))

    def forward(self, states: Tensor) -> Tensor:
        first, second = (expert(states) for expert in self.experts)
        mean: Tensor = (first + second) / 2
        return mean


def test_a_layer_takes_any_part(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = Transformer(config)
    monkeypatch.setattr(transformer, "feed_forward_of", TwoExperts)
    mixture = Transformer(config)
    state = {name: weight for name, weight in dense.state_dict().items() if ".gate" not in name}
    for expert in range(2):
        for part in ("gate", "up", "down"):
            state[f"layers.0.experts.{expert}.{part}.weight"] = dense.state_dict()[f"layers.0.{part}.weight"]
    assert {name for name, _ in mixture.named_parameters()} == state.keys() - {"layers.0.up.weight", "layers.0.down.weight"}
    mixture.load_state_dict(state, strict=False)
    torch.testing.assert_close(run(mixture), run(dense))
