from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, Qwen2Tokenizer

from dllm_edge.export.checkpoint.tokenizer import tokenizer_of, undefined_ids
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.families import family_of

from ...tiny import DEFINED, FAMILIES, LLADA_IDS, LLADA_TEMPLATE, MERGES, VOCABULARY, config_json, layout_of, write_tokenizer

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|beginoftext|>", "<|mask|>")
TEXTS = [
    "the thing on the other",
    "I'll say: It's 1234567, isn't IT?",
    "  spaces\n\n\tand lines \r\n end   ",
    "cafe\u0301 Å 東京 🙂 ½ naïve",
    "<|im_start|>user\nthe<|mask|><|mask|> a<|im_end|>\n",
    "<tool> the </tool>",
    "",
]


def write_dream_layout(folder: Path, **changes: Any) -> Path:
    """`vocab.json`, `merges.txt` and `tokenizer_config.json` as Dream has them, over a small vocabulary."""
    folder.mkdir(exist_ok=True)
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet()) + [first + second for first, second in MERGES]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    added = {str(len(pieces) + index): {"content": text, "special": True, **flags} for index, text in enumerate(SPECIAL)}
    added[str(len(pieces) + len(SPECIAL))] = {"content": "<tool>", "special": False, **flags}
    settings = {"tokenizer_class": "DreamTokenizer", "added_tokens_decoder": added, "eos_token": "<|endoftext|>"}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, MERGES)) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | changes))
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(DllmEdgeError) as caught:
        tokenizer_of(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("text", TEXTS)
def test_dream_layout_equals_transformers(tmp_path: Path, text: str) -> None:
    folder = write_dream_layout(tmp_path)
    reference = Qwen2Tokenizer.from_pretrained(folder)
    tokenizer, template = tokenizer_of(folder)
    ids = reference(text, add_special_tokens=False).input_ids
    assert tokenizer.encode(text, add_special_tokens=False).ids == ids
    for skip in (False, True):
        decoded = reference.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
        assert tokenizer.decode(ids, skip_special_tokens=skip) == decoded
    assert template is None


def test_the_split_is_not_the_default_one(tmp_path: Path) -> None:
    tokenizer, _ = tokenizer_of(write_dream_layout(tmp_path))
    words = [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str("it's 123\n\nok")]
    assert words == ["it", "'s", "Ġ", "1", "2", "3", "ĊĊ", "ok"]


def test_added_tokens_json_is_enough(tmp_path: Path) -> None:
    folder = write_dream_layout(tmp_path, added_tokens_decoder=None, additional_special_tokens=["<|mask|>"])
    first = 256 + len(MERGES)
    (folder / "added_tokens.json").write_text(json.dumps({"<|mask|>": first + 1, "<|endoftext|>": first, "<tool>": first + 2}))
    tokenizer, _ = tokenizer_of(folder)
    ids = tokenizer.encode("<|endoftext|><|mask|><tool>").ids
    assert ids == [first, first + 1, first + 2]
    assert tokenizer.decode(ids) == "<tool>"


@pytest.mark.parametrize("layout", ["llada", "qwen"])
def test_tokenizer_json_is_read_as_transformers_reads_it(tmp_path: Path, layout: str) -> None:
    write_tokenizer(tmp_path, layout)
    reference = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer, template = tokenizer_of(tmp_path)
    for text in [*TEXTS, "<|mdm_mask|>the<|eot_id|>"]:
        assert tokenizer.encode(text).ids == reference(text).input_ids
    assert template == reference.chat_template


def test_a_token_that_only_the_settings_have_is_added(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, "llada")
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings["added_tokens_decoder"] = {
        str(LLADA_IDS["<|mdm_mask|>"]): {"content": "<|mdm_mask|>", "special": True},
        str(DEFINED["llada"]): {"content": "|<MASK>|", "special": True},
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer, _ = tokenizer_of(tmp_path)
    assert tokenizer.encode("|<MASK>|<|mdm_mask|>").ids == [DEFINED["llada"], LLADA_IDS["<|mdm_mask|>"]]


@pytest.mark.parametrize("family", FAMILIES)
def test_undefined_ids(tmp_path: Path, family: str) -> None:
    write_tokenizer(tmp_path, layout_of(family))
    data = config_json(family)
    undefined = undefined_ids(tokenizer_of(tmp_path)[0], family_of(data).config(data))
    assert undefined == list(range(DEFINED[layout_of(family)], VOCABULARY))
    assert undefined


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (None, None),
        ("text", "text"),
        ([{"name": "tools", "template": "a"}, {"name": "default", "template": "b"}], "b"),
        ([{"name": "tools", "template": "a"}, {"name": "rag", "template": "b"}], "a"),
    ],
)
def test_chat_template_in_the_settings(tmp_path: Path, written: Any, read: str | None) -> None:
    assert tokenizer_of(write_dream_layout(tmp_path, chat_template=written))[1] == read


def test_a_template_file_comes_first(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, "llada")
    assert tokenizer_of(tmp_path)[1] == LLADA_TEMPLATE
    (tmp_path / "chat_template.jinja").write_text("{{ 'é' }}", encoding="utf-8")
    assert tokenizer_of(tmp_path)[1] == "{{ 'é' }}"


def test_settings_may_be_missing(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, "llada")
    (tmp_path / "tokenizer_config.json").unlink()
    assert tokenizer_of(tmp_path)[1] is None


def test_refuses_folders_without_a_readable_tokenizer(tmp_path: Path) -> None:
    assert "there is no tokenizer.json, and no vocab.json with merges.txt" in refusal(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert "tokenizer.json: cannot be read (" in refusal(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    write_dream_layout(tmp_path, tokenizer_class="GPT2Tokenizer")
    assert "tokenizer_class is 'GPT2Tokenizer'; without tokenizer.json only DreamTokenizer" in refusal(tmp_path)
    write_dream_layout(tmp_path)
    (tmp_path / "merges.txt").write_text("zz yy\n")
    assert "vocab.json and merges.txt cannot be read (" in refusal(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("nonsense")
    assert "tokenizer_config.json: not valid JSON" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"added_tokens_decoder": {"300": {"content": "<|x|>"}}}, "'<|x|>' should have the id 300 and gets 264"),
        ({"added_tokens_decoder": {"5": {"content": "<|x|>"}}}, "'<|x|>' should have the id 5 and gets 264"),
        ({"added_tokens_decoder": {"264": {}}}, "the added tokens are malformed"),
        ({"added_tokens_decoder": {"x": {"content": "<|x|>"}}}, "the added tokens are malformed"),
        ({"added_tokens_decoder": [1]}, "the added tokens are malformed"),
        (
            {"added_tokens_decoder": {"1e999": {"content": "<|x|>"}}},
            "malformed (the id is Infinity; it must be a whole number)",
        ),
        ({"added_tokens_decoder": {"264.5": {"content": "<|x|>"}}}, "malformed (the id is 264.5; it must be a whole number)"),
        (
            {"added_tokens_decoder": {"-1": {"content": "<|x|>"}}},
            "the added tokens are malformed (the id is -1; it must be at least 0)",
        ),
        ({"added_tokens_decoder": {"[" * 100_000: {"content": "<|x|>"}}}, "the added tokens are malformed (maximum recursion"),
        ({"added_tokens_decoder": {"264": {"content": 5}}}, "the added tokens are malformed"),
        ({"added_tokens_decoder": {"264": {"content": "\ud800"}}}, "the added tokens are malformed"),
        (
            {"added_tokens_decoder": {"264": {"content": "<|x|>", "special": "false"}}},
            'special is "false"; it must be true or false',
        ),
        ({"chat_template": "\ud800"}, "chat_template is no text"),
        ({"chat_template": 3}, "chat_template is no text"),
        ({"chat_template": ["a"]}, "malformed list of chat templates"),
    ],
)
def test_refuses_malformed_settings(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert message in refusal(write_dream_layout(tmp_path, **changes))


def test_added_tokens_that_the_tokenizer_panics_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_tokenizer(tmp_path, "llada")
    data = json.loads((tmp_path / "tokenizer.json").read_text())
    slow = {"type": "Replace", "pattern": {"Regex": r"(\w+\s?)+\p{Lu}$"}, "content": "x"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data | {"normalizer": slow}))
    added = {"9999": {"content": "0123456789" * 30, "normalized": True}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}))
    assert "the added tokens cannot be read (Onig: " in refusal(tmp_path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("identifier", ["1e999", "-1e999", "NaN", "264.0", "true", "null", '"264"', "[264]", "-1"])
def test_refuses_ids_that_are_none(tmp_path: Path, identifier: str) -> None:
    folder = write_dream_layout(tmp_path, added_tokens_decoder=None)
    (folder / "added_tokens.json").write_text(f'{{"<|x|>": {identifier}}}')
    assert "the added tokens are malformed (" in refusal(folder)


def test_refuses_special_names_that_are_no_list(tmp_path: Path) -> None:
    folder = write_dream_layout(tmp_path, added_tokens_decoder=None, additional_special_tokens="<|x|>")
    (folder / "added_tokens.json").write_text('{"<|x|>": 264}')
    assert "additional_special_tokens is no list" in refusal(folder)


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "added_tokens.json", "chat_template.jinja"])
def test_refuses_files_that_are_not_utf_8(tmp_path: Path, file: str) -> None:
    folder = write_dream_layout(tmp_path)
    (folder / file).write_bytes(b'{"\xff": 1}')
    assert f"{folder / file}: " in refusal(folder)


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "added_tokens.json", "vocab.json"])
def test_refuses_deep_nesting(tmp_path: Path, file: str) -> None:
    folder = write_dream_layout(tmp_path)
    (folder / file).write_text('{"a":' * 100_000)
    assert file in refusal(folder)


def test_a_panic_while_reading_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_tokenizer(tmp_path, "llada")
    data = json.loads((tmp_path / "tokenizer.json").read_text())
    data["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": ""}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    assert "tokenizer.json: cannot be read (Precompiled: " in refusal(tmp_path)
    assert capfd.readouterr().err == ""
