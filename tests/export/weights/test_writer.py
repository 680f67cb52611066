from __future__ import annotations

import errno
import hashlib
import json
import os
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dllm_edge.export.checkpoint.checkpoint import Checkpoint
from dllm_edge.export.weights.encode import CHUNK, raw_bytes
from dllm_edge.export.weights.encode_quantised import TILE
from dllm_edge.export.weights.writer import link_weights, write_weights
from dllm_edge.graphs.dtypes import FLOATS, DType
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.weight_formats import weight_bytes

from ...tiny import write_tensors, write_tiny
from ..checkpoint.test_lora import write_adapter


def silent(_: float) -> None:
    pass


def opened(
    folder: Path, *, dtype: str = "float32", family: str = "llada", shards: int = 1, lora: Path | None = None
) -> Checkpoint:
    return Checkpoint.open(write_tiny(folder, family, dtype=dtype, shards=shards, tokenizer=False), lora)


@pytest.mark.parametrize("stored", FLOATS)
@pytest.mark.parametrize("wanted", FLOATS)
def test_every_tensor_is_the_checkpoint_s(tmp_path: Path, stored: DType, wanted: DType) -> None:
    checkpoint = opened(tmp_path / "checkpoint", dtype=stored, family="dream", shards=2)
    weights = write_weights(checkpoint, tmp_path, wanted, silent)
    (file,) = weights.files
    written = load_file(tmp_path / file)
    assert set(written) == set(checkpoint.names()) == set(weights.locations)
    for name, tensor in written.items():
        assert torch.equal(tensor, checkpoint.read(name).to(getattr(torch, wanted)))


def test_locations_point_at_the_bytes(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path / "checkpoint", dtype="float16")
    weights = write_weights(checkpoint, tmp_path, "float16", silent)
    for name, location in weights.locations.items():
        content = (tmp_path / location.file).read_bytes()[location.offset : location.offset + location.length]
        assert torch.equal(
            torch.frombuffer(bytearray(content), dtype=torch.float16).reshape(location.shape), checkpoint.read(name)
        )


def test_tensors_start_at_multiples_of_64_bytes_and_odd_ones_come_last(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "checkpoint", "sdar", tokenizer=False)
    tensors = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    config |= {"head_dim": 6}  # norms of 12 bytes
    for name in list(tensors):
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            tensors[name] = torch.ones(6)
        elif name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            tensors[name] = torch.randn((24 if "q_proj" in name else 12), 64)
        elif name.endswith("o_proj.weight"):
            tensors[name] = torch.randn(64, 24)
    write_tensors(folder, tensors)
    (folder / "config.json").write_text(json.dumps(config))
    weights = write_weights(Checkpoint.open(folder), tmp_path, "float16", silent)
    odd = {name for name, location in weights.locations.items() if location.offset % 64}
    first_odd = min(location.offset for name, location in weights.locations.items() if location.length % 64)
    assert odd
    assert all("norm" in name for name in odd)
    assert all(location.offset < first_odd for location in weights.locations.values() if location.length % 64 == 0)
    assert torch.equal(load_file(tmp_path / weights.locations["layers.1.query_norm.weight"].file)["layers.1.query.weight"],
                       tensors["model.layers.1.self_attn.q_proj.weight"].half())  # fmt: skip


def test_files_stay_below_a_size_and_are_recorded(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path / "checkpoint")
    total, shares = weight_bytes(checkpoint.config, "float32"), list[float]()
    weights = write_weights(checkpoint, tmp_path, "float32", shares.append, largest_file=200_000)
    assert len(weights.files) > 2
    names: set[str] = set()
    for file, record in weights.files.items():
        content = (tmp_path / file).read_bytes()
        assert (record.size, record.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert len(content) < 200_000 + 10_000
        with safe_open(tmp_path / file, "pt") as opened_file:
            names |= set(opened_file.keys())
    assert names == set(checkpoint.names())
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert sum(location.length for location in weights.locations.values()) == total


def test_a_write_that_stops_early_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel may do it, of large writes always."""

    class Short(FileIO):
        def write(self, data: Any) -> int:
            return super().write(data[:5000])

    checkpoint = opened(tmp_path / "checkpoint", dtype="float16")
    (tmp_path / "whole").mkdir()
    whole = write_weights(checkpoint, tmp_path / "whole", "float16", silent)
    whole_open = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode, **_: (Short if mode == "xb" else whole_open)(path, mode))
    assert write_weights(checkpoint, tmp_path, "float16", silent) == whole
    monkeypatch.undo()
    for file, record in whole.files.items():
        assert hashlib.sha256((tmp_path / file).read_bytes()).hexdigest() == record.sha256


def test_a_tensor_passes_through_one_small_buffer(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path / "checkpoint", dtype="float16")
    name = "layers.0.gate.weight"
    chunks = list(map(bytes, raw_bytes(checkpoint, name, 1000)))
    assert {len(chunk) for chunk in chunks[:-1]} == {1000}
    assert b"".join(chunks) == checkpoint.read(name).view(torch.uint8).numpy().tobytes()
    assert max(CHUNK, TILE) <= 32 << 20


def test_an_adapter_is_merged(tmp_path: Path) -> None:
    plain = opened(tmp_path / "checkpoint")
    write_adapter(tmp_path / "adapter")
    checkpoint = Checkpoint.open(tmp_path / "checkpoint", tmp_path / "adapter")
    weights = write_weights(checkpoint, tmp_path, "float16", silent)
    written = load_file(tmp_path / weights.locations["layers.0.query.weight"].file)
    assert torch.equal(written["layers.0.query.weight"], checkpoint.read("layers.0.query.weight").half())
    assert not torch.equal(written["layers.0.query.weight"], plain.read("layers.0.query.weight").half())


def test_values_that_float16_cannot_hold_are_refused(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "checkpoint", "llada", dtype="bfloat16", tokenizer=False)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.transformer.blocks.1.q_proj.weight"][3, 5] = 1e5
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(DllmEdgeError, match=r"blocks\.1\.q_proj\.weight has values up to 9\.\d+e\+04, outside .* float16"):
        write_weights(Checkpoint.open(folder), tmp_path, "float16", silent)


def test_a_checkpoint_that_shrinks_meanwhile_is_noticed(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path / "checkpoint")
    os.truncate(tmp_path / "checkpoint" / "model.safetensors", 100_000)
    with pytest.raises(DllmEdgeError, match="changed since it was opened"):
        write_weights(checkpoint, tmp_path, "float32", silent)


def test_links_share_the_checkpoint_s_bytes(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path / "checkpoint", dtype="bfloat16", shards=3)
    weights = link_weights(checkpoint, tmp_path, "bfloat16", silent)
    assert len(weights.files) == 3
    for file, record in weights.files.items():
        source = tmp_path / "checkpoint" / Path(file).name
        assert os.path.samefile(source, tmp_path / file)
        assert record.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    location = weights.locations["layers.2.down.weight"]
    content = (tmp_path / location.file).read_bytes()[location.offset : location.offset + location.length]
    tensor = torch.frombuffer(bytearray(content), dtype=torch.bfloat16).reshape(location.shape)
    assert torch.equal(tensor, checkpoint.read("layers.2.down.weight"))


def test_links_follow_the_symbolic_links_of_a_download_cache(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "checkpoint", "llada", tokenizer=False)
    blob = (folder / "model.safetensors").rename(tmp_path / "blob")
    (folder / "model.safetensors").symlink_to(blob)
    link_weights(Checkpoint.open(folder), tmp_path, "float32", silent)
    assert not (tmp_path / "weights" / "model.safetensors").is_symlink()
    assert os.path.samefile(blob, tmp_path / "weights" / "model.safetensors")


def test_links_are_refused_where_bytes_would_have_to_change(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path / "checkpoint", dtype="bfloat16")
    with pytest.raises(DllmEdgeError, match=r"stored as bfloat16, .* --link cannot turn into float16: leave out --link"):
        link_weights(checkpoint, tmp_path, "float16", silent)
    write_adapter(tmp_path / "adapter")
    adapted = Checkpoint.open(tmp_path / "checkpoint", tmp_path / "adapter")
    with pytest.raises(DllmEdgeError, match="--link and --lora do not go together"):
        link_weights(adapted, tmp_path, "bfloat16", silent)


def test_links_across_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def across(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", across)
    with pytest.raises(DllmEdgeError, match=r"cannot be hard-linked .*: leave out --link"):
        link_weights(opened(tmp_path / "checkpoint"), tmp_path, "float32", silent)
