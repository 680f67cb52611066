"""SmolLM2-135M-Instruct, real weights on real English text: our graphs against transformers reading the GGUF by itself."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from dllm_edge.export.bundle import export_bundle
from dllm_edge.export.checkpoint.checkpoint import Checkpoint, load_transformer
from dllm_edge.graphs import contract
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.manifest import CHAT_TEMPLATE
from dllm_edge.runtime.bundle.tokenizer import BundleTokenizer
from dllm_edge.scripts.checkpoints.smollm2 import convert, half_split, main, packaged_gguf

TEXT = (Path(__file__).parents[2] / "data" / "english.txt").read_text(encoding="utf-8")
PLAIN = TEXT[: TEXT.index("\n\n")]

# float32: both sides round the same sums in another order; 5e-5 was measured, on logits up to 37.
FLOAT32_TOLERANCE = 1e-3
# float16: rounding the weights to 11 bits moves logits by up to 0.023 (0.004 on average), computing in float16 by up to 0.058.
FLOAT16_TOLERANCE = 0.1
# The best token may change where the runner-up is nearer than this; at one of 313 it did, by 0.002.
FLOAT16_MARGIN = 0.02

Past = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Reference:
    """What transformers computes from the GGUF: `logits` `[N, V]` float32 of the text's `ids` `[N]`."""

    ids: NDArray[np.int64]
    logits: NDArray[np.float32]

    @cached_property
    def log_probs(self) -> NDArray[np.float64]:
        below = self.logits - self.logits.max(-1).astype(np.float64)[:, None]
        log_probs: NDArray[np.float64] = below - np.log(np.exp(below).sum(-1))[:, None]
        return log_probs

    @cached_property
    def margins(self) -> NDArray[np.float32]:
        """Distance from each position's best logit to the second."""
        best = np.partition(self.logits, -2)[:, -2:]
        return best[:, 1] - best[:, 0]

    @property
    def following(self) -> NDArray[np.int64]:
        """The token after each position; the first one after the last."""
        return np.roll(self.ids, -1)

    def losses(self) -> NDArray[np.float64]:
        """Negative log probability of each position's next token."""
        return -self.log_probs[np.arange(len(self.ids)), self.following]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        convert(Path(place) / "checkpoint")
        yield Path(place) / "checkpoint"


@pytest.fixture(scope="module")
def their_model() -> Any:
    gguf = packaged_gguf()
    return AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)


@pytest.fixture(scope="module")
def their_tokenizer() -> Any:
    gguf = packaged_gguf()
    return AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)


@pytest.fixture(scope="module")
def reference(their_model: Any, their_tokenizer: Any) -> Reference:
    ids = their_tokenizer(TEXT).input_ids
    with torch.no_grad():
        return Reference(np.array(ids), their_model(torch.tensor([ids])).logits[0].numpy())


@pytest.fixture(scope="module", params=["float32", "float16"])
def bundle(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[Path, str]]:
    """An exported bundle and its dtype; one at a time is on disk."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        export_bundle(folder, Path(place) / "bundle", dtype=request.param, link=request.param == "float32")
        yield Path(place) / "bundle", request.param


def test_weights_are_those_of_transformers(folder: Path, their_model: Any) -> None:
    theirs = {name: weight for name, weight in their_model.state_dict().items() if name != "lm_head.weight"}
    with safe_open(folder / "model.safetensors", "pt") as ours:
        assert set(ours.keys()) == set(theirs)
        assert [name for name, weight in theirs.items() if not torch.equal(weight, ours.get_tensor(name))] == []


def test_half_split_undoes_the_interleaving() -> None:
    rows = np.arange(3 * 8 * 5, dtype=np.float32).reshape(24, 5)
    interleaved = rows.reshape(3, 2, 4, 5).swapaxes(1, 2).reshape(24, 5)
    assert np.array_equal(half_split(interleaved, 3), rows)


def test_tokenizer_agrees_with_transformers(folder: Path, their_tokenizer: Any, tmp_path: Path) -> None:
    ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in (TEXT, "In 1934 it cost $27.50 — naïve, isn't it?", "<|im_start|>user\nHi<|im_end|>\n"):
        assert ours.encode(text).ids == their_tokenizer(text).input_ids
        assert ours.decode(ours.encode(text).ids, skip_special_tokens=False) == text
    messages = [{"role": "user", "content": "Who wrote Emma?"}]
    rendered = AutoTokenizer.from_pretrained(folder).apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == their_tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    template = json.loads((folder / "tokenizer_config.json").read_text())["chat_template"]
    config = Checkpoint.open(folder).config
    shutil.copy(folder / "tokenizer.json", tmp_path)
    (tmp_path / CHAT_TEMPLATE).write_text(template)
    assert BundleTokenizer(tmp_path, config).chat(messages) == rendered


def test_digits_stand_alone(folder: Path) -> None:
    """SmolLM cuts digits off before spaces are grouped; transformers leaves that out when it reads a GGUF."""
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).encode("a   27").tokens == ["a", "ĠĠĠ", "2", "7"]


def test_perplexity_is_sane(reference: Reference, their_tokenizer: Any) -> None:
    """Plain prose comes first, then Darwin: 4.0, and 14.8 over all; with rows left interleaved 26 and 129."""
    plain = len(their_tokenizer(PLAIN).input_ids)
    losses = reference.losses()
    assert np.exp(losses[: plain - 1].mean()) < 5
    assert np.exp(losses[:-1].mean()) < 17


def test_torch_module_agrees(folder: Path, reference: Reference) -> None:
    model, count = load_transformer(Checkpoint.open(folder)), len(reference.ids)
    mask = torch.ones(count, count, dtype=torch.bool).tril()[None, None]
    with torch.no_grad():
        hidden = model(torch.tensor(reference.ids)[None], torch.arange(count)[None], mask).hidden
        logits = model.logits(hidden)[0].numpy()
    assert np.array_equal(logits.argmax(-1), reference.logits.argmax(-1))
    assert np.abs(logits - reference.logits).max() < FLOAT32_TOLERANCE


class Graph:
    """An exported step in ONNX Runtime, fed by the contract's names."""

    def __init__(self, file: Path) -> None:
        self.session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]
        inputs = {value.name: value for value in self.session.get_inputs()}
        self.layers = sum(name.endswith(".key") for name in inputs)
        key = inputs[contract.past_names(0)[0]]
        self.dtype = np.float16 if key.type == "tensor(float16)" else np.float32
        self.kv_heads, self.head_dim = key.shape[1], key.shape[3]

    def empty(self, slots: int) -> Past:
        shape = (1, self.kv_heads, slots, self.head_dim)
        return {name: np.zeros(shape, self.dtype) for layer in range(self.layers) for name in contract.past_names(layer)}

    def step(self, reference: Reference, rows: range, past: Past, visible: int) -> dict[str, NDArray[Any]]:
        """Send the text's `rows`; they see the first `visible` slots of `past`, and each other causally."""
        slots = past[contract.past_names(0)[0]].shape[2]
        cached = np.broadcast_to(np.arange(slots) < visible, (len(rows), slots))
        mask = np.concatenate((cached, np.tri(len(rows), dtype=bool)), axis=1)
        feeds = {
            "input_ids": reference.ids[None, rows],
            "position_ids": np.array(rows)[None],
            "attention_mask": mask[None, None],
            "logit_rows": np.arange(len(rows))[None],
            "target_ids": reference.following[None, rows, None],
            "saliency_weights": np.zeros((1, len(rows)), np.float32),
        }
        return dict(zip(self.outputs, self.session.run(None, feeds | past), strict=True))

    def past(self, outputs: dict[str, NDArray[Any]]) -> Past:
        """The new keys and values of a step as the cache of the next."""
        pairs = [zip(contract.past_names(layer), contract.new_names(layer), strict=True) for layer in range(self.layers)]
        return {past: outputs[new] for pair in pairs for past, new in pair}


def check(reference: Reference, results: list[dict[str, NDArray[Any]]], tolerance: float, margin: float) -> None:
    """Hold the head's outputs of one or more steps, which together cover the text, against the reference."""
    names = ("topk_ids", "topk_log_probs", "entropy", "target_log_probs")
    ids, log_probs, entropy, targets = (np.concatenate([result[name][0] for result in results]) for name in names)
    changed = ids[:, 0] != reference.logits.argmax(-1)
    assert not changed.any() or reference.margins[changed].max() < margin
    logs = reference.log_probs
    assert np.abs(log_probs - np.take_along_axis(logs, ids, -1)).max() < tolerance
    assert np.abs(targets[:, 0] + reference.losses()).max() < tolerance
    # A sum of 49,152 products with logits up to 37 loses a digit more than the logits themselves.
    assert np.abs(entropy + (np.exp(logs) * logs).sum(-1)).max() < 2 * tolerance
    ratio = np.exp(-targets[:-1, 0].mean() - reference.losses()[:-1].mean())
    assert abs(ratio - 1) < tolerance / 10


@pytest.mark.parametrize("flavour", ["", ".portable"])
@pytest.mark.parametrize("twin", ["", ".float32"])
def test_onnx_graphs_agree(bundle: tuple[Path, str], reference: Reference, flavour: str, twin: str) -> None:
    path, dtype = bundle
    if twin and dtype == "float32":
        pytest.skip("a float32 graph has no float32-compute twin")
    graph, count = Graph(path / f"step{flavour}{twin}.onnx"), len(reference.ids)
    tolerance, margin = (FLOAT32_TOLERANCE, 0.0) if dtype == "float32" else (FLOAT16_TOLERANCE, FLOAT16_MARGIN)
    whole = graph.step(reference, range(count), graph.empty(1), visible=0)
    check(reference, [whole], tolerance, margin)
    if dtype == "float16":
        return  # the cache holds the same keys and values in either precision
    half = count // 2
    first = graph.step(reference, range(half), graph.empty(0), visible=0)
    check(reference, [first, graph.step(reference, range(half, count), graph.past(first), visible=half)], tolerance, margin)


@pytest.mark.parametrize("content", [b"GGUF", b"no model at all, but long enough to be read as one"])
def test_a_damaged_file_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    (tmp_path / "damaged.gguf").write_bytes(content)
    monkeypatch.setattr("sys.argv", ["smollm2", str(tmp_path / "out"), "--gguf", str(tmp_path / "damaged.gguf")])
    assert main() == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.gguf"]


def test_a_folder_with_content_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DllmEdgeError, match="exists already"):
        convert(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
