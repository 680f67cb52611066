from __future__ import annotations

import ast
import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import dllm_edge
from dllm_edge.graphs.whole_file import write_json, write_whole

ROOT = Path(dllm_edge.__file__).parent
WRITING_METHODS = {"dump", "save", "tofile", "write_bytes", "write_text"}
WRITING = {"copyfile", "save_file", "save_svg"}
# Streams of many gigabytes into folders that are staged; what `write_whole` itself does.
STREAMS = {
    "export/staging.py",
    "export/weights/writer.py",
    "graphs/whole_file.py",
    "scripts/checkpoints/random_llada.py",
    "scripts/checkpoints/smollm2.py",
}


def test_content_is_replaced(tmp_path: Path) -> None:
    for content in ("ä", b"\xff", memoryview(b"view")):
        write_whole(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == (content.encode() if isinstance(content, str) else bytes(content))
    write_json(tmp_path / "file", {"a": [1]})
    assert (tmp_path / "file").read_text() == '{\n "a": [\n  1\n ]\n}\n'
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


class Failing:
    """An operation that fails, as on a full disk, or is interrupted."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, *_: object, **__: object) -> None:
        raise self.error


@pytest.mark.parametrize("operation", ["fsync", "replace", "write"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, operation: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    if operation == "write":
        failing = type("Stream", (), {"__enter__": lambda self: self, "__exit__": lambda *_: None, "write": Failing(error)})
        monkeypatch.setattr(Path, "open", lambda *_: failing())
    else:
        monkeypatch.setattr(os, operation, Failing(error))
    with pytest.raises(type(error)) as caught:
        write_whole(file, "new")
    monkeypatch.undo()
    assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    if isinstance(caught.value, OSError):
        assert (caught.value.filename, caught.value.errno) == (str(file), errno.ENOSPC)


def test_a_folder_that_is_missing_is_named_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(tmp_path / "no" / "file", "x")
    assert caught.value.filename == str(tmp_path / "no" / "file")


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        assert os.fstat(descriptor).st_size == 3
        happened.append("fsync")
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        happened.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_whole(tmp_path / "file", "new")
    assert happened == ["fsync", "replace"]
    write_whole(tmp_path / "file", "new", durable=False)
    assert happened == ["fsync", "replace", "replace"]


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "file")
    for content in ("new", "newer"):
        write_whole(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "far" / "file").read_text() == content


def test_permissions_of_what_is_replaced_stay(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(0o640)
    write_whole(tmp_path / "file", "new")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()), daemon=True)
    reader.start()
    write_whole(tmp_path / "pipe", "content")
    reader.join(10)
    assert read == ["content"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def writes(file: Path) -> Iterator[str]:
    """The calls of a module that write a file by themselves."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        method = isinstance(node.func, ast.Attribute)
        name = getattr(node.func, "attr" if method else "id", "")
        given = [*node.args[:2], *(keyword.value for keyword in node.keywords)]
        modes = [argument.value for argument in given if isinstance(argument, ast.Constant)]
        opens = name == "open" and any(isinstance(mode, str) and set(mode) & set("wax") and len(mode) < 4 for mode in modes)
        if opens or name in WRITING or (method and name in WRITING_METHODS):
            yield name


def test_every_file_is_written_by_it() -> None:
    files = [file for folder in ("demo", "export", "graphs", "runtime", "scripts") for file in (ROOT / folder).rglob("*.py")]
    assert {file.relative_to(ROOT).as_posix() for file in files if list(writes(file))} == STREAMS


@pytest.mark.parametrize("source", ["a.write_text('x')", "open('f', 'w')", "f.open('xb')", "json.dump(a, b)", "t.save('x')"])
def test_a_write_is_found(source: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(source)
    assert list(writes(tmp_path / "module.py"))
