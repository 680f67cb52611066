"""Bundles whose files say something else than what was written: they open or are refused, and what opens decodes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dllm_edge.runtime.bundle.manifest import MANIFEST, SEAL

from .budget import examples
from .damage import damaged_bytes, damaged_json, dumped
from .running import orderly

SMALL_FILES = ["decoding.json", "decoding.json", "tokenizer.json", "tokenizer.json", "chat_template.jinja"]
DECODE = ("--prompt", "hi", "--gen-length", "4", "--set", "block_length=4")


def tries(bundle: Path) -> None:
    """Ask for what the bundle holds, and decode with it."""
    orderly("info", bundle, "--json")
    orderly("info", bundle)
    orderly("run", bundle, *DECODE, "--json")


def seal(folder: Path, manifest: Any) -> None:
    """Write a manifest with the hash that is over its fields, as one does who changes it on purpose.

    What Python cannot read (deep nesting, numbers of thousands of digits) has none.
    """
    if isinstance(manifest, dict):
        with suppress(ValueError, RecursionError):
            fields = json.loads(dumped({name: value for name, value in manifest.items() if name != SEAL}))
            manifest = fields | {SEAL: hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()}
    (folder / MANIFEST).write_bytes(dumped(manifest))


def write(folder: Path, name: str, content: bytes) -> None:
    """Write a file of the bundle, and its hash and size into the manifest."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    seal(folder, manifest)


@given(st.data())
@examples(60)
def test_manifests(tiny_bundle: Callable[..., Path], data: st.DataObject) -> None:
    source = tiny_bundle("llada")
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(shutil.copytree(source, Path(folder) / "bundle"))
        seal(bundle, data.draw(damaged_json(json.loads((source / MANIFEST).read_text()))))
        tries(bundle)


@given(st.data())
@examples(40)
def test_settings_and_tokenizers(tiny_bundle: Callable[..., Path], data: st.DataObject) -> None:
    source = tiny_bundle("llada")
    name = data.draw(st.sampled_from(SMALL_FILES))
    content = (source / name).read_bytes()
    if name.endswith(".json") and data.draw(st.booleans()):
        damaged = dumped(data.draw(damaged_json(json.loads(content))))
    else:
        damaged = data.draw(damaged_bytes(content))
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(shutil.copytree(source, Path(folder) / "bundle"))
        write(bundle, name, damaged)
        tries(bundle)


@given(st.data())
@examples(30)
def test_files(tiny_bundle: Callable[..., Path], data: st.DataObject) -> None:
    """What is not what the manifest says is never run."""
    source = tiny_bundle("llada")
    files = sorted(json.loads((source / MANIFEST).read_text())["files"])
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(shutil.copytree(source, Path(folder) / "bundle"))
        file = bundle / data.draw(st.sampled_from(files))
        content = file.read_bytes()
        file.unlink()
        match data.draw(st.sampled_from(["changed", "folder", "pipe", "link", "gone"])):
            case "changed":
                damaged = data.draw(damaged_bytes(content))
                file.write_bytes(damaged)
                if damaged == content:
                    return
            case "folder":
                file.mkdir()
            case "pipe":
                os.mkfifo(file)
            case "link":
                file.symlink_to("/dev/zero")
        assert not orderly("info", bundle, "--verify", "--json")
        assert not orderly("run", bundle, *DECODE, "--json")
