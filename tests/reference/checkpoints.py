"""Random weights in the layouts of LLaDA and Dream."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from .model import DREAM_NAMES, LLADA_NAMES

WIDTH, HEADS, MLP, VOCABULARY = 16, 4, 24, 13
MASK, END = 5, 3


def llada(folder: Path, *, layers: int = 2, key_heads: int = 4, seed: int = 0) -> Path:
    config = {
        "model_type": "llada", "d_model": WIDTH, "n_heads": HEADS, "n_kv_heads": key_heads, "n_layers": layers,
        "mlp_hidden_size": MLP, "rope_theta": 500000.0, "rms_norm_eps": 1e-5, "vocab_size": VOCABULARY,
        "embedding_size": VOCABULARY, "mask_token_id": MASK, "eos_token_id": END,
    }  # fmt: skip
    return _write(folder, config, LLADA_NAMES, layers, key_heads, seed)


def dream(folder: Path, *, layers: int = 2, key_heads: int = 2, seed: int = 0) -> Path:
    config = {
        "model_type": "Dream", "hidden_size": WIDTH, "num_attention_heads": HEADS, "num_key_value_heads": key_heads,
        "num_hidden_layers": layers, "intermediate_size": MLP, "rope_parameters": {"rope_theta": 1e6},
        "rms_norm_eps": 1e-6, "vocab_size": VOCABULARY, "mask_token_id": MASK, "eos_token_id": END,
    }  # fmt: skip
    return _write(folder, config, DREAM_NAMES, layers, key_heads, seed)


def _write(folder: Path, config: dict[str, object], names: dict[str, str], layers: int, key_heads: int, seed: int) -> Path:
    generator = torch.Generator().manual_seed(seed)
    narrow = WIDTH // HEADS * key_heads
    shapes = {
        "embedding": (VOCABULARY, WIDTH), "norm": (WIDTH,), "head": (VOCABULARY, WIDTH), "attention_norm": (WIDTH,),
        "mlp_norm": (WIDTH,), "query": (WIDTH, WIDTH), "key": (narrow, WIDTH), "value": (narrow, WIDTH),
        "query_bias": (WIDTH,), "key_bias": (narrow,), "value_bias": (narrow,), "output": (WIDTH, WIDTH),
        "gate": (MLP, WIDTH), "up": (MLP, WIDTH), "down": (WIDTH, MLP),
    }  # fmt: skip
    tensors = {
        name.format(i=layer): torch.randn(shapes[role], generator=generator) * 0.8
        for role, name in names.items()
        for layer in range(layers if "{i}" in name else 1)
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    entries = sorted(tensors)
    for shard in range(2):
        part = {name: tensors[name] for name in entries[shard::2]}
        save_file(part, folder / f"model-{shard + 1:05d}-of-00002.safetensors")
    return folder
