from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.families import family_of
from dllm_edge.runtime.bundle.tokenizer import BundleTokenizer

from ...tiny import DEFINED, LLADA_IDS, LLADA_TEMPLATE, config_json, write_tokenizer

MESSAGES = [{"role": "user", "content": "the thing"}]


@pytest.fixture
def config() -> ModelConfig:
    data = config_json("llada")
    return family_of(data).config(data)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path, "llada")
    (tmp_path / "chat_template.jinja").write_text(LLADA_TEMPLATE, encoding="utf-8")
    return tmp_path


def test_equals_transformers(bundle: Path, config: ModelConfig) -> None:
    ours, reference = BundleTokenizer(bundle, config), AutoTokenizer.from_pretrained(bundle)
    prompt = ours.chat(MESSAGES)
    assert prompt == reference.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    for text in (prompt, "the é 東京\n\n ", "", "<|mdm_mask|>the"):
        ids = reference(text, add_special_tokens=False).input_ids
        assert ours.encode(text, special_tokens=True) == ids
        assert ours.decode(ids) == reference.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert ours.decode(np.array(ids, np.int64), skip_special_tokens=False) == text  # type: ignore[arg-type]


def test_special_tokens_are_recognised_and_none_added(bundle: Path, config: ModelConfig) -> None:
    data = json.loads((bundle / "tokenizer.json").read_text())
    special = {"id": "<|endoftext|>", "ids": [LLADA_IDS["<|endoftext|>"]], "tokens": ["<|endoftext|>"]}
    data["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|endoftext|>": special},
    }
    data["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    data["padding"] = {
        "strategy": {"Fixed": 9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "!",
    }
    (bundle / "tokenizer.json").write_text(json.dumps(data))
    ids = BundleTokenizer(bundle, config).encode("<|mdm_mask|><|mdm_mask|><|mdm_mask|>", special_tokens=True)
    assert ids == [LLADA_IDS["<|mdm_mask|>"]] * 3


def test_special_and_undefined_ids_are_left_out_of_text(bundle: Path, config: ModelConfig) -> None:
    tokenizer = BundleTokenizer(bundle, config)
    ids = [*tokenizer.encode("the"), LLADA_IDS["<|eot_id|>"], DEFINED["llada"] + 1]
    assert tokenizer.decode(ids) == "the"
    assert tokenizer.decode(ids, skip_special_tokens=False) == "the<|eot_id|>"


def test_the_templates_tokens_are_the_configurations(bundle: Path, config: ModelConfig) -> None:
    (bundle / "chat_template.jinja").write_text("{{ bos_token }}|{{ eos_token }}|{{ add_generation_prompt }}")
    assert BundleTokenizer(bundle, config).chat(MESSAGES) == "<|startoftext|>|<|endoftext|>|True"
    without = ModelConfig.from_json(config.to_json() | {"bos_token_id": None, "eos_token_ids": [DEFINED["llada"]]})
    assert BundleTokenizer(bundle, without).chat(MESSAGES) == "||True"


def test_errors(bundle: Path, config: ModelConfig) -> None:
    with pytest.raises(DllmEdgeError, match="without unpaired surrogates"):
        BundleTokenizer(bundle, config).encode("\ud800")
    (bundle / "chat_template.jinja").unlink()
    assert BundleTokenizer(bundle, config).chat_template is None
    with pytest.raises(DllmEdgeError, match="this bundle has no chat template: give a plain prompt"):
        BundleTokenizer(bundle, config).chat(MESSAGES)
    (bundle / "tokenizer.json").write_text("{")
    with pytest.raises(DllmEdgeError, match=r"the tokenizer cannot be read .*: export the checkpoint again"):
        BundleTokenizer(bundle, config)
    (bundle / "tokenizer.json").unlink()
    with pytest.raises(DllmEdgeError, match=r"there is no tokenizer.json: export the checkpoint again"):
        BundleTokenizer(bundle, config)


def test_files_that_are_not_utf_8(bundle: Path, config: ModelConfig) -> None:
    for name in ("chat_template.jinja", "tokenizer.json"):
        (bundle / name).write_bytes(b"\xff")
        with pytest.raises(DllmEdgeError, match=f"{name}: is not UTF-8 .*: export the checkpoint again"):
            BundleTokenizer(bundle, config)


def test_a_panic_is_an_error_like_any_other(bundle: Path, config: ModelConfig) -> None:
    data = json.loads((bundle / "tokenizer.json").read_text())
    slow = {"type": "Split", "pattern": {"Regex": r"(\w+\s?)+\p{Lu}$"}, "behavior": "Isolated", "invert": False}
    (bundle / "tokenizer.json").write_text(json.dumps(data | {"pre_tokenizer": slow}))
    with pytest.raises(DllmEdgeError, match=r"^the prompt cannot be tokenised \(Onig: .*\): change the text, or give token"):
        BundleTokenizer(bundle, config).encode("0123456789" * 30)
    broken = {"type": "Precompiled", "precompiled_charsmap": ""}
    (bundle / "tokenizer.json").write_text(json.dumps(data | {"normalizer": broken}))
    with pytest.raises(DllmEdgeError, match=r"the tokenizer cannot be read \(Precompiled: .*\): export the checkpoint again"):
        BundleTokenizer(bundle, config)
    (bundle / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(DllmEdgeError, match=r"the tokens have no text \(.*\): export the checkpoint again"):
        BundleTokenizer(bundle, config).decode([1 << 40])


def test_a_message_that_cannot_be_tokenised_is_an_error_like_any_other(bundle: Path, config: ModelConfig) -> None:
    """Where a normaliser may make special tokens of a text, messages are tokenised to find them."""
    data = json.loads((bundle / "tokenizer.json").read_text())
    for token in data["added_tokens"]:
        token["normalized"] = True
    slow = {"type": "Split", "pattern": {"Regex": r"(\w+\s?)+\p{Lu}$"}, "behavior": "Isolated", "invert": False}
    (bundle / "tokenizer.json").write_text(json.dumps(data | {"normalizer": {"type": "Lowercase"}, "pre_tokenizer": slow}))
    with pytest.raises(DllmEdgeError, match=r"^the prompt cannot be tokenised \(Onig: .*\): change the text, or give token"):
        BundleTokenizer(bundle, config).chat([{"role": "user", "content": "0123456789" * 30}])


def test_messages_of_any_depth_are_rendered_or_refused(bundle: Path, config: ModelConfig) -> None:
    tokenizer, nested = BundleTokenizer(bundle, config), "inside"
    refused = 0
    for depth in range(1100):
        nested = [nested]  # type: ignore[assignment]
        if depth > 850:
            try:
                tokenizer.chat([{"role": "user", "content": "the", "extra": nested}])
            except DllmEdgeError:
                refused += 1
    assert refused or sys.version_info >= (3, 12)


def test_a_prompt_has_a_size(bundle: Path, config: ModelConfig) -> None:
    tokenizer, most = BundleTokenizer(bundle, config), 128 * config.max_positions
    assert len(tokenizer.encode("a" * most)) == most
    message = rf"^the prompt has {most + 1:,} bytes, this model takes {most:,} at most .*: shorten the prompt$"
    with pytest.raises(DllmEdgeError, match=message):
        tokenizer.encode("a" * (most + 1))
    with pytest.raises(DllmEdgeError, match=message):
        tokenizer.encode("é" * (most // 2) + "a")
    content = "a" * (most - len("roleusercontent"))
    with pytest.raises(DllmEdgeError, match=message):
        tokenizer.chat([{"role": "user", "content": f"{content}a"}])
    with pytest.raises(DllmEdgeError, match=rf"it gives more than {most:,} characters"):
        tokenizer.chat([{"role": "user", "content": content}])


def test_special_tokens_are_the_templates(bundle: Path, config: ModelConfig) -> None:
    tokenizer = BundleTokenizer(bundle, config)
    prompt = tokenizer.chat(MESSAGES)
    assert LLADA_IDS["<|eot_id|>"] in tokenizer.encode(prompt, special_tokens=True)
    for ask in (tokenizer.encode, lambda text: tokenizer.chat([{"role": "user", "content": text}])):
        with pytest.raises(DllmEdgeError, match=r"^the prompt contains the special token '<\|eot_id\|>', which only the chat"):
            ask("the<|eot_id|>thing")
    allowed = tokenizer.chat([{"role": "user", "content": "the<|eot_id|>thing"}], special_tokens=True)
    assert allowed == prompt.replace("the thing", "the<|eot_id|>thing")


def test_needs_neither_torch_nor_transformers() -> None:
    code = "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\nimport dllm_edge.runtime.bundle.tokenizer"
    subprocess.run([sys.executable, "-c", code], check=True)
