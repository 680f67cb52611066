"""The tiny random checkpoints that the published decoders ran on: the same weights, byte for byte, with a tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models
from torch import Tensor

VOCABULARY, MASK, END = 300, 299, 2
HIDDEN, INTERMEDIATE, LAYERS, HEADS = 64, 128, 2, 4
SEED, HEAD_SCALE = 0, 3.0

Tensors = dict[str, Tensor]
Write = Callable[[Path], None]


def write_checkpoint(name: str, folder: Path) -> None:
    """Write the checkpoint of that name; raises `ValueError` where its weights are not those that the decoders ran on."""
    folder.mkdir(parents=True, exist_ok=True)
    write, expected = CHECKPOINTS[name]
    write(folder)
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if digest != expected:
        raise ValueError(f"{name}: the weights' sha256 is {digest}, not {expected}: this torch draws other numbers")


def llada(folder: Path) -> None:
    """Write LLaDA's layout. The LM head's row of the mask is 0, so that greedy never picks it."""
    random = torch.Generator().manual_seed(SEED)
    tensors: Tensors = {
        "model.transformer.wte.weight": _matrix(random, VOCABULARY, HIDDEN),
        "model.transformer.ln_f.weight": _norm(random),
        "model.transformer.ff_out.weight": _matrix(random, VOCABULARY, HIDDEN) * HEAD_SCALE,
    }
    tensors["model.transformer.ff_out.weight"][MASK] = 0
    for layer in range(LAYERS):
        tensors |= {f"model.transformer.blocks.{layer}.{name}.weight": made for name, made in _llada_layer(random).items()}
    _write(folder, tensors, LLADA_CONFIG)


def _llada_layer(random: torch.Generator) -> Tensors:
    tensors = {name: _norm(random) for name in ("attn_norm", "ff_norm")}
    tensors |= {name: _matrix(random, HIDDEN, HIDDEN) for name in ("q_proj", "k_proj", "v_proj", "attn_out")}
    tensors |= {name: _matrix(random, INTERMEDIATE, HIDDEN) for name in ("ff_proj", "up_proj")}
    return tensors | {"ff_out": _matrix(random, HIDDEN, INTERMEDIATE)}


def dream(folder: Path) -> None:
    """Write Dream's layout, with biases of queries, keys and values. The LM head's row of the mask is 0, too."""
    random = torch.Generator().manual_seed(SEED)
    tensors: Tensors = {
        "model.embed_tokens.weight": _matrix(random, VOCABULARY, HIDDEN),
        "model.norm.weight": _norm(random),
        "lm_head.weight": _matrix(random, VOCABULARY, HIDDEN) * HEAD_SCALE,
    }
    tensors["lm_head.weight"][MASK] = 0
    for layer in range(LAYERS):
        tensors |= {f"model.layers.{layer}.{name}": made for name, made in _dream_layer(random).items()}
    _write(folder, tensors, DREAM_CONFIG, metadata={"format": "pt"})


def _dream_layer(random: torch.Generator) -> Tensors:
    tensors = {f"{name}.weight": _norm(random) for name in ("input_layernorm", "post_attention_layernorm")}
    for name, rows in (("q_proj", HIDDEN), ("k_proj", HIDDEN // 2), ("v_proj", HIDDEN // 2)):
        tensors[f"self_attn.{name}.weight"] = _matrix(random, rows, HIDDEN)
        tensors[f"self_attn.{name}.bias"] = _matrix(random, rows)
    tensors["self_attn.o_proj.weight"] = _matrix(random, HIDDEN, HIDDEN)
    tensors |= {f"mlp.{name}.weight": _matrix(random, INTERMEDIATE, HIDDEN) for name in ("gate_proj", "up_proj")}
    return tensors | {"mlp.down_proj.weight": _matrix(random, HIDDEN, INTERMEDIATE)}


def _matrix(random: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=random) * 0.2


def _norm(random: torch.Generator) -> Tensor:
    return torch.ones(HIDDEN) + 0.1 * torch.randn(HIDDEN, generator=random)


def _write(folder: Path, tensors: Tensors, config: Mapping[str, Any], metadata: dict[str, str] | None = None) -> None:
    save_file(tensors, folder / "model.safetensors", metadata)
    (folder / "config.json").write_text(json.dumps(config))
    words = {f"w{token}": token for token in range(config["vocab_size"])}
    Tokenizer(models.WordLevel(words, unk_token="w0")).save(str(folder / "tokenizer.json"))  # noqa: S106


LLADA_CONFIG: dict[str, Any] = {
    "model_type": "llada",
    "d_model": HIDDEN,
    "embedding_size": VOCABULARY,
    "eos_token_id": END,
    "mask_token_id": MASK,
    "max_sequence_length": 512,
    "mlp_hidden_size": INTERMEDIATE,
    "n_heads": HEADS,
    "n_kv_heads": HEADS,
    "n_layers": LAYERS,
    "pad_token_id": END,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "vocab_size": VOCABULARY,
}
DREAM_CONFIG: dict[str, Any] = {
    "model_type": "Dream",
    "bos_token_id": 3,
    "eos_token_id": END,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "intermediate_size": INTERMEDIATE,
    "mask_token_id": MASK,
    "max_position_embeddings": 2048,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": HEADS // 2,
    "pad_token_id": END,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "vocab_size": VOCABULARY,
}

CHECKPOINTS: dict[str, tuple[Write, str]] = {
    "llada-seed0": (llada, "a41880bf274b721f60fc68206aff7066c598f5860a305c26a2493e7748e21c03"),
    "dream-seed0": (dream, "b97795349079f969e0679146ee44cef53cd3b7798236dddbb0dbf983141f1c6f"),
}
"""By name, what writes a checkpoint, and the sha256 of its weights."""
