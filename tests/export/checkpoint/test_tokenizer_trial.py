from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer

from dllm_edge.export.bundle import export_bundle
from dllm_edge.export.checkpoint.tokenizer_trial import TEXTS, try_tokenizer
from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.families import family_of

from ...tiny import DEFINED, VOCABULARY, build_tokenizer, config_json, write_tiny

WORDS = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "[UNK]"}
FIXED = {"type": "FixedLength", "length": 0}
# It takes exponential time on text of one letter, until the library gives up.
SLOW = {"type": "Split", "pattern": {"Regex": r"(\w+\s?)+\p{Lu}$"}, "behavior": "Isolated", "invert": False}


@pytest.fixture
def config() -> ModelConfig:
    data = config_json("llada")
    return family_of(data).config(data)


def changed(**parts: Any) -> Tokenizer:
    """The tiny LLaDA tokenizer, with other parts in its JSON."""
    return Tokenizer.from_str(json.dumps(json.loads(build_tokenizer("llada").to_str()) | parts))


def refusal(tokenizer: Tokenizer, config: ModelConfig) -> str:
    with pytest.raises(DllmEdgeError) as caught:
        try_tokenizer(tokenizer, config, Path("tokenizer.json"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("layout", ["llada", "qwen"])
def test_good_tokenizers_pass(layout: str, config: ModelConfig) -> None:
    assert len(TEXTS) >= 12
    try_tokenizer(build_tokenizer(layout), config, Path("tokenizer.json"))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"model": WORDS}, "the tokenizer fails on 'Why is the sky blue?' (WordLevel error: Missing [UNK] token"),
        ({"pre_tokenizer": FIXED}, "(chunk size must be non-zero): it is damaged or another model's, download it again"),
        ({"pre_tokenizer": SLOW}, "(Onig: Regex search error: "),
    ],
)
def test_failures_and_panics_are_one_line(
    parts: dict[str, Any], message: str, config: ModelConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal(changed(**parts), config)
    assert capfd.readouterr().err == ""


def test_what_cuts_as_in_training_is_no_failure(config: ModelConfig) -> None:
    cut = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 5}
    try_tokenizer(changed(truncation=cut), config, Path("tokenizer.json"))


def test_ids_beyond_the_model(config: ModelConfig) -> None:
    tokenizer = build_tokenizer("llada")
    tokenizer.add_special_tokens([AddedToken(f"<|{index}|>") for index in range(VOCABULARY - DEFINED["llada"])])
    try_tokenizer(tokenizer, config, Path("tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken("<|more|>")])
    assert f"gives '<|more|>' the id {VOCABULARY}, which the model's {VOCABULARY} do not include" in refusal(tokenizer, config)


def test_an_export_tries_it_first(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "checkpoint", "llada")
    changed(pre_tokenizer=FIXED).save(str(folder / "tokenizer.json"))
    with pytest.raises(DllmEdgeError, match=r"tokenizer.json: the tokenizer fails on 'Why is the sky blue\?'"):
        export_bundle(folder, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
