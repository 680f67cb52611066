"""The demo model's tokenizer: byte-level byte-pair encoding, with LLaDA's special tokens and chat template."""

from __future__ import annotations

import itertools
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ..graphs.whole_file import write_json, write_whole
from .task import LARGEST, problems

TOKENIZER_SEED = 7
END_OF_TEXT, START_OF_TEXT, MASK = "<|endoftext|>", "<|startoftext|>", "<|mdm_mask|>"
SPECIAL_TOKENS = [END_OF_TEXT, START_OF_TEXT, MASK, "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def build_tokenizer() -> Tokenizer:
    """Learn the merges from generated problems; every whole number of the task becomes one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2048,
        min_frequency=1,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (f"{p.question}\n\n{p.solution}" for p in itertools.islice(problems(TOKENIZER_SEED), 20_000))
    words = [f" {number}" for number in range(LARGEST + 1)] + ["user", "assistant"]
    tokenizer.train_from_iterator(itertools.chain(texts, words * 10), trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` as Hugging Face folders have them."""
    write_whole(folder / "tokenizer.json", tokenizer.to_str(pretty=True))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": START_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "mask_token": MASK,
        "chat_template": CHAT_TEMPLATE,
    }
    write_json(folder / "tokenizer_config.json", settings)
