from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dllm_edge.export.checkpoint.checkpoint import Checkpoint
from dllm_edge.export.weights import encode_quantised
from dllm_edge.export.weights.embedding_words import from_words
from dllm_edge.export.weights.packing import unpack
from dllm_edge.export.weights.report import weight_report
from dllm_edge.export.weights.writer import Weights, write_weights
from dllm_edge.graphs.dtypes import FLOATS, DType
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.weight_formats import WeightFormat, WeightFormats, weight_bytes

from ...tiny import write_tiny
from ..checkpoint.test_lora import write_adapter
from .plain_quantiser import plain_quantiser

FORMATS = WeightFormats(WeightFormat("int4", 32), WeightFormat("int8", 64), WeightFormat("int8", 32))


def silent(_: float) -> None:
    pass


def written(folder: Path, weights: Weights) -> dict[str, torch.Tensor]:
    return {name: tensor for file in weights.files for name, tensor in load_file(folder / file).items()}


def assert_stored(
    tensors: dict[str, torch.Tensor], name: str, weight: torch.Tensor, weight_format: WeightFormat, dtype: DType
) -> None:
    """The tensors of one weight hold what the plain quantiser makes of it, in the layout that the graphs want."""
    integers, scales = plain_quantiser(weight, weight_format.name, weight_format.group, getattr(torch, dtype))
    stored = tensors[name + ".integers"]
    if name == "embedding.weight":
        assert torch.equal(from_words(stored), torch.from_numpy(integers))
        assert torch.equal(tensors[name + ".scales"].float(), torch.from_numpy(scales))
        return
    found = unpack(stored).reshape(weight.shape[::-1]) if weight_format.name == "int4" else stored
    assert torch.equal(found, torch.from_numpy(integers).T)
    assert torch.equal(tensors[name + ".scales"].float(), torch.from_numpy(scales).T)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("tie", [False, True])
def test_every_weight_is_stored_as_its_format_says(tmp_path: Path, dtype: DType, tie: bool) -> None:
    checkpoint = Checkpoint.open(write_tiny(tmp_path / "checkpoint", "qwen2", dtype="bfloat16", tie=tie, tokenizer=False))
    shares: list[float] = []
    weights = write_weights(checkpoint, tmp_path, dtype, shares.append, FORMATS, largest_file=20_000)
    tensors = written(tmp_path, weights)
    assert len(weights.files) > 2
    assert set(tensors) == set(weights.locations)
    for name, shape in FORMATS.shapes(checkpoint.config).items():
        weight = checkpoint.read("embedding.weight" if tie and name == "lm_head.weight" else name)
        if (weight_format := FORMATS.of(name, shape)).quantised:
            assert_stored(tensors, name, weight, weight_format, dtype)
        else:
            assert torch.equal(tensors[name], weight.to(getattr(torch, dtype)))
    assert sum(location.length for location in weights.locations.values()) == weight_bytes(checkpoint.config, dtype, FORMATS)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_parts_of_a_tensor_give_the_same_bytes_as_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint.open(write_tiny(tmp_path / "checkpoint", "llada", dtype="float16", tokenizer=False))
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = write_weights(checkpoint, tmp_path / "whole", "float16", silent, FORMATS)
    monkeypatch.setattr(encode_quantised, "CHUNK", 1000)
    monkeypatch.setattr(encode_quantised, "TILE", 96 * 32)
    parts = write_weights(checkpoint, tmp_path / "parts", "float16", silent, FORMATS)
    assert parts.files == whole.files
    for name, error in whole.errors.items():
        assert parts.errors[name].relative == pytest.approx(error.relative)
        assert parts.errors[name].largest == error.largest


def test_an_adapter_is_merged_before_it_is_quantised(tmp_path: Path) -> None:
    write_tiny(tmp_path / "checkpoint", "llada", tokenizer=False)
    write_adapter(tmp_path / "adapter")
    checkpoint = Checkpoint.open(tmp_path / "checkpoint", tmp_path / "adapter")
    tensors = written(tmp_path, write_weights(checkpoint, tmp_path, "float16", silent, FORMATS))
    name = "layers.0.query.weight"
    assert checkpoint.merged(name)
    assert_stored(tensors, name, checkpoint.read(name), FORMATS.linear, "float16")


@pytest.mark.parametrize(
    ("value", "message"),
    [(1e5, r"q_proj\.weight has values up to 1e\+05, outside the range of float16"), (float("nan"), "that are no numbers")],
)
def test_values_that_cannot_be_stored(tmp_path: Path, value: float, message: str) -> None:
    folder = write_tiny(tmp_path / "checkpoint", "llada", tokenizer=False)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.transformer.blocks.1.q_proj.weight"][3, 5] = value
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(DllmEdgeError, match=message):
        write_weights(Checkpoint.open(folder), tmp_path, "float16", silent, FORMATS)


def test_the_report_names_the_worst(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "checkpoint", "llada", tokenizer=False)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.transformer.blocks.2.up_proj.weight"][:, ::32] *= 30  # an outlier in every group
    save_file(tensors, folder / "model.safetensors")
    checkpoint = Checkpoint.open(folder)
    report = weight_report(write_weights(checkpoint, tmp_path, "float16", silent, FORMATS).errors, FORMATS)
    assert (report["worst_layer"], report["worst_tensor"]) == ("layers.2", "layers.2.up.weight")
    assert set(report["layers"]) == {"embedding", "layers.0", "layers.1", "layers.2", "lm_head"}
    assert set(report["tensors"]) == {name for name, shape in FORMATS.shapes(checkpoint.config).items() if len(shape) == 2}
    weight = checkpoint.read("layers.0.key.weight")
    integers, scales = plain_quantiser(weight, "int4", 32, torch.float16)
    change = torch.from_numpy(integers * scales.repeat(32, axis=1)) - weight
    expected = float(change.norm() / weight.norm())
    assert report["tensors"]["layers.0.key.weight"]["relative_error"] == pytest.approx(expected, rel=1e-5)
    assert report["tensors"]["layers.0.key.weight"]["largest_change"] == pytest.approx(0.5, abs=0.01)


MEMORY = """
import sys
from pathlib import Path
import torch
from dllm_edge.export.checkpoint.checkpoint import Checkpoint
from dllm_edge.export.weights import encode, encode_quantised
from dllm_edge.export.weights.writer import write_weights
from dllm_edge.graphs.weight_formats import WeightFormat, WeightFormats
encode.CHUNK, encode_quantised.CHUNK, encode_quantised.TILE = 1 << 18, 1 << 18, 1 << 20
torch.set_num_threads(1)
def resident(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field)) * 1024
formats = WeightFormats(WeightFormat("int4", 32), WeightFormat("int8", 32), WeightFormat("int8", 32))
folder = Path(sys.argv[1])
(folder / "first").mkdir()
write_weights(Checkpoint.open(folder / "small"), folder / "first", "bfloat16", lambda _: None, formats)
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
write_weights(Checkpoint.open(folder / "large"), folder, "bfloat16", lambda _: None, formats)
print(resident("VmHWM") - before)
"""


def test_memory_does_not_grow_with_a_tensor(tmp_path: Path) -> None:
    """A feed-forward matrix of 32 MB, and one of its tiles in memory with what a chunk of its rows is turned into."""
    from dllm_edge.scripts.checkpoints.random_llada import Shape, write_random_llada

    write_random_llada(tmp_path / "small", Shape(1, 64, 4, 4, 192, 1024, 1))
    write_random_llada(tmp_path / "large", Shape(1, 1024, 4, 4, 16384, 1024, 1))
    done = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 24 << 20
