"""Tiny random checkpoints in the real layout of each family, for tests.

Config keys, tensor names and shapes are spelt out here rather than taken from `graphs.families`: they are what those are
tested against.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch import Tensor

FAMILIES = ("llada", "dream", "fast-dllm-v2", "sdar", "qwen2", "qwen3", "llama")
DIFFUSION_FAMILIES = FAMILIES[:4]

VOCABULARY, HIDDEN, INTERMEDIATE, LAYERS, HEADS, KV_HEADS, HEAD_DIM = 288, 64, 96, 3, 4, 2, 16
WIDE_HEAD_DIM = 32  # of sdar and qwen3: as in SDAR 4B, heads * head_dim is not the hidden size
MERGES = (("t", "h"), ("th", "e"), ("Ġ", "a"), ("e", "r"), ("o", "n"), ("Ġ", "the"), ("i", "n"), ("in", "g"))
SPECIAL = {
    "llada": ("<|startoftext|>", "<|endoftext|>", "<|mdm_mask|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    "qwen": ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|mask|>"),
}
FIRST_SPECIAL = 256 + len(MERGES)
LLADA_IDS = {text: FIRST_SPECIAL + index for index, text in enumerate(SPECIAL["llada"])}
QWEN_IDS = {text: FIRST_SPECIAL + index for index, text in enumerate(SPECIAL["qwen"])}
DEFINED = {"llada": FIRST_SPECIAL + len(LLADA_IDS), "qwen": FIRST_SPECIAL + len(QWEN_IDS)}

LLADA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def layout_of(family: str) -> str:
    """`llada` or `qwen`: whose special tokens and chat template the family's tiny tokenizer has."""
    return "llada" if family == "llada" else "qwen"


def llada_config(dtype: str, tie: bool) -> dict[str, Any]:
    return {
        "architectures": ["LLaDAModelLM"],
        "model_type": "llada",
        "activation_type": "silu",
        "alibi": False,
        "attention_layer_norm": False,
        "bias_for_layer_norm": False,
        "block_group_size": 1,
        "block_type": "llama",
        "d_model": HIDDEN,
        "embedding_size": VOCABULARY,
        "eos_token_id": LLADA_IDS["<|endoftext|>"],
        "include_bias": False,
        "include_qkv_bias": False,
        "input_emb_norm": False,
        "layer_norm_type": "rms",
        "layer_norm_with_affine": True,
        "mask_token_id": LLADA_IDS["<|mdm_mask|>"],
        "max_sequence_length": 512,
        "mlp_hidden_size": INTERMEDIATE,
        "mlp_ratio": 4,
        "multi_query_attention": None,
        "n_heads": HEADS,
        "n_kv_heads": HEADS,
        "n_layers": LAYERS,
        "bos_token_id": LLADA_IDS["<|startoftext|>"],
        "pad_token_id": LLADA_IDS["<|endoftext|>"],
        "precision": "amp_bf16",
        "rms_norm_eps": 1e-05,
        "rope": True,
        "rope_full_precision": True,
        "rope_theta": 500000.0,
        "scale_logits": False,
        "torch_dtype": dtype,
        "vocab_size": VOCABULARY,
        "weight_tying": tie,
    }


FAMILY_KEYS: dict[str, dict[str, Any]] = {
    "dream": {
        "architectures": ["DreamModel"],
        "model_type": "Dream",
        "mask_token_id": QWEN_IDS["<|mask|>"],
        "rope_theta": 1000000.0,
        "use_mrope": False,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": 28,
    },
    "fast-dllm-v2": {
        "architectures": ["Fast_dLLM_QwenForCausalLM"],
        "model_type": "Fast_dLLM_Qwen",
        "bd_size": 32,
        "eos_token_id": QWEN_IDS["<|im_end|>"],
        "pad_token_id": QWEN_IDS["<|im_end|>"],
        "layer_types": ["full_attention"] * LAYERS,
        "mask_token_id": QWEN_IDS["<|mask|>"],
        "rope_theta": 1000000.0,
        "use_sliding_window": False,
        "sliding_window": None,
    },
    "sdar": {
        "architectures": ["SDARForCausalLM"],
        "model_type": "sdar",
        "attention_bias": False,
        "block_size": 4,
        "head_dim": WIDE_HEAD_DIM,
        "mask_token_id": QWEN_IDS["<|mask|>"],
        "rope_theta": 1000000.0,
        "use_sliding_window": False,
        "sliding_window": 4096,
    },
    "qwen2": {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
        "layer_types": ["full_attention"] * LAYERS,
        "use_sliding_window": False,
        "sliding_window": None,
    },
    "qwen3": {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "attention_bias": False,
        "head_dim": WIDE_HEAD_DIM,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
        "layer_types": ["full_attention"] * LAYERS,
        "use_sliding_window": False,
    },
    "llama": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "mlp_bias": False,
        "head_dim": HEAD_DIM,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    },
}


def config_json(family: str, dtype: str = "float32", tie: bool = False) -> dict[str, Any]:
    """The `config.json` that `write_tiny` writes for a family, as a dictionary."""
    if family == "llada":
        return llada_config(dtype, tie)
    shared = {
        "bos_token_id": QWEN_IDS["<|endoftext|>"],
        "eos_token_id": QWEN_IDS["<|endoftext|>"],
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "max_position_embeddings": 512,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": KV_HEADS,
        "rms_norm_eps": 1e-06,
        "tie_word_embeddings": tie,
        "dtype" if "rope_parameters" in FAMILY_KEYS[family] else "torch_dtype": dtype,
        "vocab_size": VOCABULARY,
    }
    return shared | FAMILY_KEYS[family]


def tensor_shapes(family: str, tie: bool = False) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a family's tensors as its real checkpoints have them."""
    llada = family == "llada"
    head_dim = WIDE_HEAD_DIM if family in ("sdar", "qwen3") else HEAD_DIM
    query, kv = HEADS * head_dim, (HEADS if llada else KV_HEADS) * head_dim
    yield "model.transformer.wte.weight" if llada else "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for index in range(LAYERS):
        place = f"model.transformer.blocks.{index}." if llada else f"model.layers.{index}."
        attention, feed_forward = ("", "") if llada else ("self_attn.", "mlp.")
        for name, rows in (("q_proj", query), ("k_proj", kv), ("v_proj", kv)):
            yield f"{place}{attention}{name}.weight", (rows, HIDDEN)
            if family in ("dream", "fast-dllm-v2", "qwen2"):
                yield f"{place}{attention}{name}.bias", (rows,)
        yield f"{place}{'attn_out' if llada else 'self_attn.o_proj'}.weight", (HIDDEN, query)
        if family in ("sdar", "qwen3"):
            yield f"{place}self_attn.q_norm.weight", (head_dim,)
            yield f"{place}self_attn.k_norm.weight", (head_dim,)
        yield f"{place}{'ff_proj' if llada else 'mlp.gate_proj'}.weight", (INTERMEDIATE, HIDDEN)
        yield f"{place}{feed_forward}up_proj.weight", (INTERMEDIATE, HIDDEN)
        yield f"{place}{'ff_out' if llada else 'mlp.down_proj'}.weight", (HIDDEN, INTERMEDIATE)
        yield f"{place}{'attn_norm' if llada else 'input_layernorm'}.weight", (HIDDEN,)
        yield f"{place}{'ff_norm' if llada else 'post_attention_layernorm'}.weight", (HIDDEN,)
    yield "model.transformer.ln_f.weight" if llada else "model.norm.weight", (HIDDEN,)
    if not tie:
        yield "model.transformer.ff_out.weight" if llada else "lm_head.weight", (VOCABULARY, HIDDEN)


def random_tensor(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Matrices that keep the scale of what they take; head and embedding rows that give logits of about +-3."""
    noise = torch.randn(shape, generator=generator)
    if name.endswith(".bias"):
        return noise * 0.3
    if len(shape) == 1:
        return 1.0 + noise * 0.1
    scale = 3.0 if shape[0] == VOCABULARY else 1.0
    return noise.mul_(scale / math.sqrt(shape[1]))


def build_tokenizer(layout: str) -> Tokenizer:
    """A byte-level tokenizer of 256 bytes, a few merges and the special tokens of `SPECIAL[layout]`."""
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet()) + [first + second for first, second in MERGES]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(MERGES)))
    if layout == "qwen":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in SPECIAL[layout]])
    return tokenizer


def write_tokenizer(folder: Path, layout: str) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` (with the chat template inside)."""
    build_tokenizer(layout).save(str(folder / "tokenizer.json"))
    llada = layout == "llada"
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|startoftext|>" if llada else None,
        "eos_token": "<|endoftext|>" if llada else "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "mask_token": "<|mdm_mask|>" if llada else "<|mask|>",
        "chat_template": LLADA_TEMPLATE if llada else QWEN_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def write_tensors(folder: Path, tensors: dict[str, Tensor], shards: int = 1) -> None:
    """Write `tensors` as `model.safetensors`, or as numbered shards with their index."""
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = list(tensors)
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[shard::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    size = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def write_tiny(
    folder: Path,
    family: str,
    *,
    dtype: str = "float32",
    shards: int = 1,
    tie: bool = False,
    seed: int = 0,
    tokenizer: bool = True,
    change: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Write a random checkpoint of one of `FAMILIES` into `folder` (made where missing) and return `folder`.

    3 layers, hidden 64, intermediate 96, 4 heads of 16 (sdar, qwen3: 32), 2 key heads (LLaDA: 4), vocabulary 288, of which
    the tokenizer defines the first `DEFINED[layout_of(family)]`. `dtype` is float32, float16 or bfloat16; `change` edits the
    config before it is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    stored = getattr(torch, dtype)
    shapes = tensor_shapes(family, tie)
    write_tensors(folder, {name: random_tensor(name, shape, generator).to(stored) for name, shape in shapes}, shards)
    config = config_json(family, dtype, tie)
    if change is not None:
        change(config)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if tokenizer:
        write_tokenizer(folder, layout_of(family))
    return folder
