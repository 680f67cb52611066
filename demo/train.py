"""Train the demo checkpoint: a small masked diffusion model in LLaDA's own layout (`python -m dllm_edge.demo.train`).

The loss is LLaDA's (Nie et al. 2025, section 2.2): tokens of the answer are masked, and the masked tokens are predicted.
What keeps training short enough for a CPU:

- Only a third of the rows mask a random share t ~ U(0, 1) of the answer, as LLaDA does. A third mask all from some place
  on, and a third the results from some place on, wherever they stand. Under random masks alone, the model copies a sum's
  result from the line after it, where it mostly still stands, and is slow to learn to add.
- Training begins with bare sums ("47 - 11 = 36.", the result masked), and some go with every later batch.
- The rows of the whole numbers in the embedding and in the LM head start from sines and cosines of the number, the
  representation that models otherwise spend most of their training on finding.
- Cross-entropy is averaged over the masked tokens rather than weighted by 1/t; end-of-text padding counts a tenth.
- Matrices are trained by Muon, the rest by AdamW.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from ..graphs.config import ModelConfig
from ..graphs.families import FAMILIES
from ..graphs.modules.transformer import Transformer
from ..graphs.whole_file import write_json, write_whole
from ..runtime.evaluation.task import Problem
from .task import LARGEST, training_problems
from .tokenizer import END_OF_TEXT, MASK, START_OF_TEXT, build_tokenizer, save_tokenizer

CHECKPOINT = Path(__file__).parent / "checkpoint"
TRAINING_SEED = 1
PERIODS = (2, 3, 5, 7, 10, 20, 50, 100, 200)
DECODING = {"task": "arithmetic", "defaults": {"gen_length": 64, "block_length": 32}}
# Steps of bare sums alone, sums in each of them and in each later step, and tokens of a sum.
SUM_STEPS, SUMS_ALONE, SUMS_BESIDE, SUM_TOKENS = 200, 256, 128, 6
# (share of the steps after the sums, rows, tokens in a row): short rows first, then generation lengths 64, 128 and 256.
CURRICULUM = ((0.72, ((64, 72),)), (0.28, ((52, 108), (52, 108), (32, 172), (16, 300))))


def token_id(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    assert found is not None, f"the tokenizer has no {token}"
    return found


def model_config(tokenizer: Tokenizer) -> ModelConfig:
    end_of_text = token_id(tokenizer, END_OF_TEXT)
    return ModelConfig(
        family="llada",
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=256,
        intermediate_size=768,
        layers=5,
        heads=4,
        kv_heads=4,
        head_dim=64,
        rope_theta=10_000.0,
        norm_eps=1e-5,
        max_positions=1024,
        attention="bidirectional",
        eos_token_ids=(end_of_text,),
        mask_token_id=token_id(tokenizer, MASK),
        bos_token_id=token_id(tokenizer, START_OF_TEXT),
        pad_token_id=end_of_text,
    )


def number_tokens(tokenizer: Tokenizer) -> Tensor:
    return torch.tensor([token_id(tokenizer, f"Ġ{number}") for number in range(LARGEST + 1)])


def initialise(model: Transformer, tokenizer: Tokenizer) -> None:
    """Small random weights; number rows get sines and cosines of the number in their first dimensions."""
    for weight in model.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.5 / math.sqrt(weight.shape[1]))
    numbers = torch.arange(LARGEST + 1)
    rows = number_tokens(tokenizer)
    angles = 2 * math.pi * numbers[:, None] / torch.tensor(PERIODS)[None]
    waves = torch.cat((angles.cos(), angles.sin()), dim=1)
    with torch.no_grad():
        for table in (model.embedding.weight, model.lm_head.weight):
            table[rows, : waves.shape[1]] = waves * 2 * table.std()


def encode(tokenizer: Tokenizer, drawn: Problem) -> tuple[list[int], list[int]]:
    """Prompt and solution tokens of one problem."""
    header = "<|start_header_id|>{}<|end_header_id|>\n\n"
    prompt = START_OF_TEXT + header.format("user") + drawn.question + "<|eot_id|>" + header.format("assistant")
    return tokenizer.encode(prompt).ids, tokenizer.encode(drawn.solution).ids


@dataclass(frozen=True)
class Batch:
    """Token ids `[rows, length]`, which of them are masked, and how much each masked token counts."""

    ids: Tensor
    masked: Tensor
    weights: Tensor


def batch_of_sums(tokenizer: Tokenizer, stream: Iterator[Problem], count: int) -> Batch:
    """Single steps of solutions, "47 - 11 = 36.", with the result masked."""
    rows: list[list[int]] = []
    while len(rows) < count:
        steps = encode(tokenizer, next(stream))[1][4:-5]
        rows += [steps[first : first + SUM_TOKENS] for first in range(0, len(steps), SUM_TOKENS)]
    ids = torch.tensor(rows[:count])
    chosen = torch.zeros_like(ids, dtype=torch.bool)
    chosen[:, 4] = True
    return Batch(ids, chosen, torch.ones(ids.shape))


def batch_of_problems(
    tokenizer: Tokenizer, stream: Iterator[Problem], rows: int, length: int, generator: torch.Generator
) -> Batch:
    """Whole problems, each padded with end-of-text to `length`."""
    ids = torch.full((rows, length), token_id(tokenizer, END_OF_TEXT))
    starts, ends = torch.zeros(rows, 1, dtype=torch.int64), torch.zeros(rows, 1, dtype=torch.int64)
    for row in range(rows):
        prompt, solution = encode(tokenizer, next(stream))
        starts[row], ends[row] = len(prompt), len(prompt) + len(solution)
        ids[row, : len(prompt) + len(solution)] = torch.tensor(prompt + solution)
    numbers, operators = (torch.zeros(tokenizer.get_vocab_size(), dtype=torch.bool) for _ in range(2))
    numbers[number_tokens(tokenizer)] = True
    operators[[token_id(tokenizer, "Ġ+"), token_id(tokenizer, "Ġ-")]] = True
    results = numbers[ids] & ~operators[ids.roll(1, 1)]
    chosen = masks(starts, ends, results, generator)
    return Batch(ids, chosen, torch.where(torch.arange(length) > ends, 0.1, 1.0))


def masks(starts: Tensor, ends: Tensor, results: Tensor, generator: torch.Generator) -> Tensor:
    """Which tokens to mask, `[rows, length]`: a random share, all from a cut on, or `results` from a cut on.

    Answers begin at `starts`, their padding at `ends` (`[rows, 1]`). Shares are spread evenly over (0, 1) within a batch.
    """
    rows, length = results.shape
    positions = torch.arange(length)
    answer = positions >= starts
    shares = (torch.randperm(rows, generator=generator) + torch.rand(rows, generator=generator))[:, None] / rows
    scores = torch.where(answer, torch.rand(rows, length, generator=generator), 2.0)
    random = (scores < shares) | (scores == scores.amin(1, keepdim=True))
    cuts = starts + (torch.rand(rows, 1, generator=generator) * (ends - starts)).long()
    after = positions >= cuts
    kind = (torch.arange(rows) % 3)[:, None]
    return answer & torch.where(kind == 0, random, torch.where(kind == 1, after, results & after))


def loss_of(model: Transformer, mask_token: int, drawn: Batch) -> Tensor:
    rows, length = drawn.ids.shape
    positions = torch.arange(length).expand(rows, length)
    visible = torch.ones(rows, 1, length, length, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model(torch.where(drawn.masked, mask_token, drawn.ids), positions, visible).hidden
        logits = model.logits(hidden[drawn.masked])
    losses = F.cross_entropy(logits, drawn.ids[drawn.masked], reduction="none")
    weights = drawn.weights[drawn.masked]
    return (losses * weights).sum() / weights.sum()


def learning_rate(step: int, steps: int) -> float:
    """Share of the peak rate: a short warm-up, flat, then linear to zero over the last half."""
    return min(1.0, (step + 1) / 100, 2 * (steps - step) / steps)


def train(steps: int, output: Path, threads: int) -> None:
    torch.manual_seed(TRAINING_SEED)
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(TRAINING_SEED)
    tokenizer = build_tokenizer()
    config = model_config(tokenizer)
    model = Transformer(config, "portable")
    initialise(model, tokenizer)
    assert config.mask_token_id is not None
    matrices = [weight for weight in model.layers.parameters() if weight.ndim == 2]
    others = [weight for weight in model.parameters() if not any(weight is matrix for matrix in matrices)]
    optimisers = [
        torch.optim.Muon(matrices, lr=0.02, weight_decay=0.01, adjust_lr_fn="original"),
        torch.optim.AdamW(others, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    peaks = [optimiser.param_groups[0]["lr"] for optimiser in optimisers]
    stream = training_problems(TRAINING_SEED)
    started, running = time.perf_counter(), 0.0
    lines = [f"seed {TRAINING_SEED}, {steps} steps, {threads} threads, torch {torch.__version__}"]
    for step in range(steps):
        sums = batch_of_sums(tokenizer, stream, SUMS_ALONE if step < SUM_STEPS else SUMS_BESIDE)
        loss = loss_of(model, config.mask_token_id, sums)
        if step >= SUM_STEPS:
            early = step - SUM_STEPS < CURRICULUM[0][0] * (steps - SUM_STEPS)
            shapes = CURRICULUM[0 if early else 1][1]
            drawn = batch_of_problems(tokenizer, stream, *shapes[step % len(shapes)], generator)
            loss = loss_of(model, config.mask_token_id, drawn) + loss / 4
        loss.backward()
        for optimiser, peak in zip(optimisers, peaks, strict=True):
            optimiser.param_groups[0]["lr"] = peak * learning_rate(step, steps)
            optimiser.step()
            optimiser.zero_grad()
        running += loss.item()
        if (step + 1) % 100 == 0:
            seconds = time.perf_counter() - started
            lines.append(f"step {step + 1}/{steps}  loss {running / 100:.4f}  {seconds:.0f} s")
            print(lines[-1], flush=True)
            running = 0.0
    save_checkpoint(model, tokenizer, output)
    write_whole(output / "training.log", "\n".join(lines) + "\n")


def save_checkpoint(model: Transformer, tokenizer: Tokenizer, output: Path) -> None:
    """Write a Hugging Face folder with LLaDA's tensor names, float16."""
    output.mkdir(parents=True, exist_ok=True)
    names = FAMILIES["llada"].tensor_names(model.config)
    tensors = {names[name]: weight.to(torch.float16).contiguous() for name, weight in model.state_dict().items()}
    write_whole(output / "model.safetensors", save(tensors, metadata={"format": "pt"}))
    config = model.config
    write_json(
        output / "config.json",
        {
            "architectures": ["LLaDAModelLM"],
            "model_type": "llada",
            "d_model": config.hidden_size,
            "n_layers": config.layers,
            "n_heads": config.heads,
            "n_kv_heads": config.kv_heads,
            "mlp_hidden_size": config.intermediate_size,
            "vocab_size": config.vocab_size,
            "embedding_size": config.vocab_size,
            "max_sequence_length": config.max_positions,
            "rope": True,
            "rope_theta": config.rope_theta,
            "rms_norm_eps": config.norm_eps,
            "layer_norm_type": "rms",
            "activation_type": "silu",
            "block_type": "llama",
            "include_bias": False,
            "include_qkv_bias": False,
            "weight_tying": False,
            "scale_logits": False,
            "input_emb_norm": False,
            "mask_token_id": config.mask_token_id,
            "eos_token_id": config.eos_token_ids[0],
            "bos_token_id": config.bos_token_id,
            "pad_token_id": config.pad_token_id,
            "torch_dtype": "float16",
        },
    )
    save_tokenizer(tokenizer, output)
    write_json(output / "decoding.json", DECODING)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1700)
    parser.add_argument("--output", type=Path, default=CHECKPOINT)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    train(arguments.steps, arguments.output, arguments.threads)


if __name__ == "__main__":
    main()
