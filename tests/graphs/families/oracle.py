"""Logits of transformers' own models with a tiny checkpoint's weights: what each family is compared with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from dllm_edge.export.checkpoint.checkpoint import Checkpoint, load_transformer
from dllm_edge.graphs.contract import Flavour

from ...tiny import HIDDEN, INTERMEDIATE, LAYERS, VOCABULARY

MODELS: dict[str, tuple[type[Any], type[Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
IDS = torch.tensor([[5, 270, 17, 33, 80, 266, 266, 12, 255, 0, 90, 91], [1, 2, 3, 4, 266, 266, 266, 266, 9, 9, 9, 287]])
# The second row has gaps and a position out of order.
POSITIONS = torch.stack((torch.arange(12), torch.tensor([0, 1, 2, 9, 10, 11, 40, 41, 42, 43, 300, 299])))


def visible(pattern: str, block: int = 4) -> Tensor:
    """`[2, 1, 12, 12]` bool, true = visible, by the row's place rather than its position."""
    query, key = torch.arange(12)[:, None], torch.arange(12)[None]
    seen = {"bidirectional": key >= 0, "causal": key <= query, "block-causal": key // block <= query // block}[pattern]
    return seen.expand(2, 1, 12, 12)


def reference_logits(
    folder: Path, kind: str, seen: Tensor, rename: Callable[[str], str] = lambda name: name, **settings: Any
) -> Tensor:
    """Float32 logits `[2, 12, VOCABULARY]` of transformers' model of `kind` with the weights in `folder`."""
    config_class, model_class = MODELS[kind]
    config = config_class(
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        vocab_size=VOCABULARY,
        attn_implementation="eager",
        **settings,
    )
    model = model_class(config).eval()
    state = {rename(name): weight.to(torch.float32) for name, weight in load_file(folder / "model.safetensors").items()}
    problems = model.load_state_dict(state, strict=False)
    assert problems.unexpected_keys == []
    assert problems.missing_keys == (["lm_head.weight"] if settings.get("tie_word_embeddings") else [])
    additive = torch.where(seen, 0.0, torch.finfo(torch.float32).min)
    with torch.no_grad():
        logits: Tensor = model(input_ids=IDS, position_ids=POSITIONS, attention_mask=additive).logits
    return logits


def our_logits(folder: Path, seen: Tensor, flavour: Flavour = "fused") -> Tensor:
    """Float32 logits `[2, 12, VOCABULARY]` of our transformer, loaded from `folder`."""
    model = load_transformer(Checkpoint.open(folder), flavour)
    return model.logits(model(IDS, POSITIONS, seen).hidden)


def assert_close(ours: Tensor, reference: Tensor) -> None:
    """Equal to 1e-4, on logits that are spread enough for that to say something."""
    assert reference.std() > 1.0
    assert (ours - reference).abs().max() < 1e-4
