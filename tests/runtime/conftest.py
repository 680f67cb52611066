from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.bundle.manifest import FileRecord, Manifest
from dllm_edge.runtime.generate import Model

from ..exported_once import exported_once, shared_folder
from .numpy_engine import ENDLESS, MASK, VOCABULARY, NumpyEngine
from .recorder import Recorder

WORDS = {f"w{index}": index for index in range(VOCABULARY)}
TEMPLATE = "{% for message in messages %}w10 {{ message['content'] }} w11 {% endfor %}w12"
DECODING = {
    "defaults": {"gen_length": 16, "block_length": 8, "threshold": 0.7, "unmask": "quota", "retention": 0.25},
    "systems": {"fast-dllm-dual": {"threshold": 0.4}, "vanilla": {"block_length": 4}},
}

# Those compare with transformers, which the runtime does not install with.
collect_ignore = [] if find_spec("transformers") else ["bundle/chat/test_render.py", "bundle/test_tokenizer.py"]

# What the weights of a tiny checkpoint are multiplied by, so that it says something else at each place, and something else
# again where its caches are stale: as drawn, its attention is close to an average, and it repeats one token.
LIVELY = {
    "q_proj.weight": 3.0,
    "k_proj.weight": 3.0,
    "v_proj.weight": 2.0,
    "o_proj.weight": 2.0,
    "attn_out.weight": 2.0,
    "gate_proj.weight": 2.0,
    "up_proj.weight": 2.0,
    "down_proj.weight": 2.0,
    "ff_proj.weight": 2.0,
}


@pytest.fixture(scope="session")
def handed_down(tiny_bundle: Callable[..., Path], pytestconfig: pytest.Config) -> Callable[[str], Path]:
    """`handed_down(family)`: `tiny_bundle(family)`; without torch, what the last run of these tests with torch exported.

    So the engine is tested with the ONNX Runtime of every Python: `make test` runs them after its own.
    """
    kept = pytestconfig.rootpath / ".pytest_cache" / "bundles"

    def hand_down(family: str) -> Path:
        place = kept / family
        if find_spec("torch") is None:
            if not place.exists():
                pytest.skip("no bundle was handed down: run the tests where torch is installed first")
            return place
        bundle, partial = tiny_bundle(family), kept / f"{family}.{os.getpid()}"
        shutil.copytree(bundle, partial, dirs_exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):  # of two at a time, one is enough
            partial.rename(place)
        shutil.rmtree(partial, ignore_errors=True)
        return bundle

    return hand_down


@pytest.fixture(scope="session")
def lively_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`lively_bundle(family)`: as `tiny_bundle`, with weights by which the systems differ."""
    shared = shared_folder(tmp_path_factory)

    def export(family: str) -> Path:
        return exported_once(shared / f"lively-{family}", partial(write_lively, family=family))

    return export


def write_lively(folder: Path, family: str) -> None:
    from safetensors.torch import load_file, save_file

    from ..tiny import write_tiny

    weights = write_tiny(folder, family) / "model.safetensors"
    tensors: dict[str, Any] = load_file(weights)
    for name, tensor in tensors.items():
        tensor.mul_(LIVELY.get(".".join(name.split(".")[-2:]), 1.0))
    save_file(tensors, weights, metadata={"format": "pt"})


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """A model on the numpy engine, which is recorded, with what it reads of a bundle: one word a token, a chat template."""
    tokenizer = Tokenizer(models.WordLevel(WORDS))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    (tmp_path / "decoding.json").write_text(json.dumps(DECODING))
    files = {file.name: FileRecord("0" * 64, 0) for file in tmp_path.iterdir()}
    manifest = Manifest("numpy", ENDLESS, (MASK,), 32, "float32", "float32", {}, {}, files)
    return Model(Bundle(tmp_path, manifest), Recorder(NumpyEngine(ENDLESS)))
