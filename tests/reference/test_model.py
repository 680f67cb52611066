import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from . import checkpoints
from .model import LLADA_NAMES, Frozen, Model, load, rotate, shifted

Layout = Callable[..., Path]
IDS = torch.tensor([1, 7, 2, 9, 11, 5, 5, 4])


@pytest.mark.parametrize("layout", [checkpoints.llada, checkpoints.dream])
def test_a_frozen_position_acts_as_its_old_token(layout: Layout, tmp_path: Path) -> None:
    """With one layer, a key depends on its own token alone."""
    model = load(layout(tmp_path, layers=1))
    other = IDS.clone()
    stale = torch.tensor([True, False, False, True, False, False, False, True])
    other[stale] = 8
    stored = model.forward(other)
    mixed = model.forward(IDS, Frozen(stored.keys, stored.values, stale))
    torch.testing.assert_close(mixed.logits[~stale], stored.logits[~stale])
    assert not torch.allclose(mixed.logits[~stale], model.forward(IDS).logits[~stale], atol=1e-3)


@pytest.mark.parametrize("layout", [checkpoints.llada, checkpoints.dream])
def test_a_hidden_last_position_is_as_good_as_absent(layout: Layout, tmp_path: Path) -> None:
    model = load(layout(tmp_path))
    full = model.forward(IDS)
    nothing = torch.zeros(len(IDS), dtype=torch.bool)
    hidden = nothing.repeat(model.config.layers, 1)
    hidden[:, -1] = True
    masked = model.forward(IDS, Frozen(full.keys, full.values, nothing, hidden))
    torch.testing.assert_close(masked.logits[:-1], model.forward(IDS[:-1]).logits)


@pytest.mark.parametrize("muted", [0, 1])
def test_hiding_is_per_layer(muted: int, tmp_path: Path) -> None:
    """Where attention has no output, what it sees does not matter."""
    model = load(checkpoints.llada(tmp_path))
    silent = {LLADA_NAMES["output"].format(i=muted): torch.zeros(16, 16)}
    model = Model(model.config, dict(model.tensors) | silent, LLADA_NAMES)
    full, nothing = model.forward(IDS), torch.zeros(len(IDS), dtype=torch.bool)
    for layer in range(2):
        hidden = nothing.repeat(2, 1)
        hidden[layer, 2] = True
        result = model.forward(IDS, Frozen(full.keys, full.values, nothing, hidden))
        assert torch.equal(result.logits, full.logits) is (layer == muted)


def test_own_keys_frozen_change_nothing(tmp_path: Path) -> None:
    model = load(checkpoints.llada(tmp_path))
    full = model.forward(IDS)
    again = model.forward(IDS, Frozen(full.keys, full.values, torch.ones(len(IDS), dtype=torch.bool)))
    assert torch.equal(again.logits, full.logits)


def test_rotation_keeps_relative_positions() -> None:
    rows = torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(0)).repeat(1, 6, 1)
    turned = rotate(rows, torch.arange(6), 10000.0)[0]
    torch.testing.assert_close(turned[0], rows[0, 0])
    torch.testing.assert_close(turned[1] @ turned[3], turned[2] @ turned[4])


def test_shift_moves_rows_by_one(tmp_path: Path) -> None:
    logits = load(checkpoints.dream(tmp_path)).forward(IDS).logits
    for position in range(len(IDS)):
        assert torch.equal(shifted(logits)[position], logits[max(position - 1, 0)])


def qwen2(folder: Path) -> tuple[Path, torch.Tensor]:
    """A Qwen2 of transformers under Dream's model type, and its own bidirectional logits."""
    transformers = pytest.importorskip("transformers")
    config = transformers.Qwen2Config(
        vocab_size=13, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, rope_theta=1e6, tie_word_embeddings=False, attn_implementation="eager",
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.Qwen2ForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.4) if "norm" not in name else torch.nn.init.uniform_(parameter, 0.5, 1.5)
    everything = torch.zeros(1, 1, len(IDS), len(IDS))
    with torch.no_grad():
        logits = model(IDS[None], attention_mask={"full_attention": everything}).logits[0]
    model.save_pretrained(folder)
    source = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(source | {"model_type": "Dream", "mask_token_id": 5, "eos_token_id": 3}))
    return folder, logits


def test_dream_layout_equals_transformers(tmp_path: Path) -> None:
    folder, expected = qwen2(tmp_path)
    torch.testing.assert_close(load(folder).forward(IDS).logits, expected)


def test_llada_layout_equals_transformers(tmp_path: Path) -> None:
    folder, _ = qwen2(tmp_path / "qwen2")
    tensors = load_file(folder / "model.safetensors")
    for name in tensors:
        if name.endswith("bias"):
            tensors[name] = torch.zeros_like(tensors[name])
    save_file(tensors, folder / "model.safetensors")
    unbiased = load(folder)
    renamed = {name.format(i=layer): unbiased.tensor(role, layer) for role, name in LLADA_NAMES.items() for layer in range(2)}
    llada = tmp_path / "llada"
    checkpoints.llada(llada, key_heads=2)
    source = json.loads((llada / "config.json").read_text()) | {"rope_theta": 1e6, "rms_norm_eps": 1e-6}
    (llada / "config.json").write_text(json.dumps(source))
    config = load(llada).config
    torch.testing.assert_close(Model(config, renamed, LLADA_NAMES).forward(IDS).logits, unbiased.forward(IDS).logits)
