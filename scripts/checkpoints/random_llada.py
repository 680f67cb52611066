"""Write a LLaDA-shaped checkpoint of random weights, in shards and without holding it in memory, to measure exports with.

python -m dllm_edge.scripts.checkpoints.random_llada FOLDER [--scale 8b|135m|tiny] [--layers N] [--hidden N] [--vocab N]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from ...graphs.families import family_of
from ...graphs.parameters import parameter_shapes
from ...graphs.whole_file import write_json, write_whole

BLOCK = 1 << 22
# Token ids of LLaDA 8B, counted from the end of its vocabulary of 126,464, so that other sizes have them, too.
END_OF_TEXT, MASK = -383, -128


@dataclass(frozen=True)
class Shape:
    """The dimensions of a LLaDA model, and how many files its weights take."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    vocab: int
    shards: int


SCALES = {
    "8b": Shape(layers=32, hidden=4096, heads=32, kv_heads=32, intermediate=12288, vocab=126464, shards=6),
    "135m": Shape(layers=30, hidden=576, heads=9, kv_heads=3, intermediate=1536, vocab=49152, shards=2),
    "tiny": Shape(layers=3, hidden=64, heads=4, kv_heads=4, intermediate=192, vocab=1024, shards=3),
}


def write_random_llada(folder: Path, shape: Shape, seed: int = 0) -> int:
    """Write config, tokenizer and bfloat16 weights to `folder` (made where missing); return the weights' bytes."""
    return write_random(folder, llada_config(shape), shape.shards, seed)


def write_random(folder: Path, data: dict[str, Any], shards: int, seed: int = 0) -> int:
    """Write as `write_random_llada` does, of the family and shape that `data`, a `config.json`, names."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", data)
    family = family_of(data)
    config = family.config(data)
    _write_tokenizer(folder, config.vocab_size)
    names = {family.tensor_name(name): size for name, size in parameter_shapes(config).items()}
    total = sum(map(prod, names.values())) * 2
    weight_map: dict[str, str] = {}
    noise = _Noise(seed)
    for index, group in enumerate(_groups(names, total / shards)):
        file = f"model-{index + 1:05d}-of-{shards:05d}.safetensors"
        _write_shard(folder / file, {name: names[name] for name in group}, noise)
        weight_map |= dict.fromkeys(group, file)
    index_json = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / "model.safetensors.index.json", index_json)
    return total


def llada_config(shape: Shape) -> dict[str, Any]:
    """Return the `config.json` of a LLaDA model of that shape."""
    return {
        "architectures": ["LLaDAModelLM"],
        "model_type": "llada",
        "activation_type": "silu",
        "alibi": False,
        "attention_layer_norm": False,
        "block_type": "llama",
        "d_model": shape.hidden,
        "embedding_size": shape.vocab,
        "vocab_size": shape.vocab,
        "n_layers": shape.layers,
        "n_heads": shape.heads,
        "n_kv_heads": shape.kv_heads,
        "mlp_hidden_size": shape.intermediate,
        "max_sequence_length": 4096,
        "include_bias": False,
        "include_qkv_bias": False,
        "input_emb_norm": False,
        "layer_norm_type": "rms",
        "rms_norm_eps": 1e-05,
        "rope": True,
        "rope_theta": 500000.0,
        "scale_logits": False,
        "weight_tying": False,
        "eos_token_id": shape.vocab + END_OF_TEXT,
        "pad_token_id": shape.vocab + END_OF_TEXT,
        "mask_token_id": shape.vocab + MASK,
        "torch_dtype": "bfloat16",
    }


def _write_tokenizer(folder: Path, vocab: int) -> None:
    """Write a byte-level tokenizer whose vocabulary goes on with tokens that no text gives."""
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces += [f"<{token}>" for token in range(len(pieces), vocab)]
    tokenizer = Tokenizer(models.BPE(vocab={piece: token for token, piece in enumerate(pieces)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    write_whole(folder / "tokenizer.json", tokenizer.to_str(pretty=True))


def _groups(names: dict[str, tuple[int, ...]], size: float) -> Iterator[list[str]]:
    """Yield tensor names in order, in groups that reach `size` bytes each; the last takes what is left."""
    group: list[str] = []
    written = grouped = 0.0
    for name, shape in names.items():
        group.append(name)
        written += prod(shape) * 2
        if written >= grouped + size - 1 and name != list(names)[-1]:
            yield group
            group, grouped = [], grouped + size
    yield group


class _Noise:
    """Normal bfloat16 values: one block of them, begun anywhere for each part of a tensor."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.block = torch.randn(2 * BLOCK, generator=self.generator)
        self.scaled: dict[float, torch.Tensor] = {}

    def parts(self, shape: tuple[int, ...]) -> Iterator[memoryview]:
        """Yield the bytes of a tensor: matrices keep the scale of what they take, norms are about one."""
        scale = shape[-1] ** -0.5 if len(shape) == 2 else 0.0
        if scale not in self.scaled:
            self.scaled[scale] = (self.block * scale if scale else 1 + 0.1 * self.block).to(torch.bfloat16)
        left = prod(shape)
        while left:
            start = int(torch.randint(BLOCK, (1,), generator=self.generator))
            part = self.scaled[scale][start : start + min(left, BLOCK)]
            yield part.view(torch.uint8).numpy().data
            left -= len(part)


def _write_shard(file: Path, shapes: dict[str, tuple[int, ...]], noise: _Noise) -> None:
    entries, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + prod(shape) * 2
        entries[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    header = json.dumps({"__metadata__": {"format": "pt"}} | entries).encode()
    header += b" " * (-len(header) % 8)
    with file.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        for shape in shapes.values():
            for part in noise.parts(shape):
                stream.write(part)


def main() -> None:
    parser = argparse.ArgumentParser(description="write a LLaDA-shaped checkpoint of random weights")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", choices=SCALES, default="tiny")
    for name in vars(SCALES["tiny"]):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    arguments = vars(parser.parse_args())
    folder, scale = arguments.pop("folder"), arguments.pop("scale")
    total = write_random_llada(folder, replace(SCALES[scale], **{name: value for name, value in arguments.items() if value}))
    print(f"{folder}: {total / 1e9:.2f} GB of weights")


if __name__ == "__main__":
    main()
