from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from dllm_edge.export import exchange, staging
from dllm_edge.export.staging import staged
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle

from .interruptions import Failure, Interruption, disk_error, every_operation, interrupt, interrupted, kill

FILES = ("manifest.json", "weights/first", "weights/second")
FAILURES = (disk_error, interrupt, kill)


def fill(folder: Path, word: str) -> None:
    (folder / "weights").mkdir(parents=True)
    for file in FILES:
        (folder / file).write_text(word)


def content(folder: Path) -> str | None:
    """The word that all files of a whole folder hold, or None where there is no whole one."""
    words = {file: (folder / file).read_text() if (folder / file).is_file() else "" for file in FILES}
    return words[FILES[0]] if len(set(words.values())) == 1 and words[FILES[0]] else None


def stage(path: Path, word: str) -> Callable[[Interruption], None]:
    def run(interruption: Interruption) -> None:
        with staged(path, overwrite=True) as folder, interruption.resting():
            fill(folder, word)

    return run


@pytest.fixture(params=["exchange", "two renames"])
def exchanging(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether two paths can change places in one step."""
    if request.param == "two renames":
        monkeypatch.setattr(staging, "exchanged", lambda *_: False)
    return bool(request.param == "exchange")


def left_by_a_killed_run(root: Path) -> None:
    """All that two renames can leave: what was replaced, and a new one that is not there yet."""
    fill(root / ".b.replaced-1", "old")
    (root / ".b.partial-2" / "weights").mkdir(parents=True)


def left_before_the_replaced_one_was_condemned(root: Path) -> None:
    fill(root / "b", "old")
    fill(root / ".b.replaced-1", "older")


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill loses nothing that was written: what must be synced when is a test of its own."""
    monkeypatch.setattr(os, "fsync", os.fstat)


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder in memory, where there is one: a busy disk makes thousands of small operations slow."""
    memory = Path("/dev/shm")  # noqa: S108
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


STARTS: dict[str, Callable[[Path], None]] = {
    "nothing": lambda root: None,
    "old": lambda root: fill(root / "b", "old"),
    "replaced": left_by_a_killed_run,
    "both": left_before_the_replaced_one_was_condemned,
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a failure after an opening leaves what it opened
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("failure", FAILURES)
def test_whatever_interrupts_it_one_whole_folder_is_there(root: Path, start: str, failure: Failure, exchanging: bool) -> None:
    path = root / "b"

    def prepare() -> None:
        for entry in root.iterdir():
            shutil.rmtree(entry)
        STARTS[start](root)

    moments = 0
    for number, afterwards in every_operation(stage(path, "new"), prepare, failure):
        interrupted(stage(path, "new"), number, failure, afterwards)
        moments += 1
        found = content(path)
        if found is None and path.exists():
            pytest.fail(f"a part of one after operation {number}")
        if found is None and start != "nothing":
            # Only two renames can be caught between each other, and only what starts there or a kill leaves it so.
            assert content(next(root.glob(".b.replaced-*"))) == "old"
            assert start == "replaced" or (failure is kill and not exchanging)
        assert found in (None, "old", "new")
        stage(path, "next")(Interruption(0, failure, False))
        assert content(path) == "next"
        assert [entry.name for entry in root.iterdir()] == ["b"]
    assert moments > 40


def test_what_was_replaced_comes_back_before_the_next_begins(tmp_path: Path) -> None:
    left_by_a_killed_run(tmp_path)
    with pytest.raises(DllmEdgeError, match="already holds a bundle"), staged(tmp_path / "b"):
        pass
    assert content(tmp_path / "b") == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["b"]


def test_a_real_bundle_opens_after_a_kill(root: Path, tiny_bundle: Callable[..., Path]) -> None:
    source, path = tiny_bundle("llada"), root / "b"

    def export(interruption: Interruption) -> None:
        with staged(path, overwrite=True) as folder, interruption.resting():
            shutil.copytree(source, folder, dirs_exist_ok=True)

    shutil.copytree(source, path)
    for number, afterwards in islice(every_operation(export, lambda: None, kill), None, None, 23):
        interrupted(export, number, kill, afterwards)
        Bundle.open(path)
    export(Interruption(0, kill, False))
    assert [entry.name for entry in root.iterdir()] == ["b"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_nothing_stays_of_what_raises(tmp_path: Path, error: type[BaseException]) -> None:
    def stops() -> None:
        with staged(tmp_path / "b") as folder:
            fill(folder, "new")
            raise error

    with pytest.raises(error):
        stops()
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_behind_a_symbolic_link_is_replaced_where_it_lies(tmp_path: Path) -> None:
    fill(tmp_path / "far" / "b", "old")
    (tmp_path / "link").symlink_to(tmp_path / "far" / "b")
    for word in ("new", "newer"):
        stage(tmp_path / "link", word)(Interruption(0, kill, False))
        assert (tmp_path / "link").is_symlink()
        assert content(tmp_path / "far" / "b") == word
    assert sorted(entry.name for entry in tmp_path.rglob("*b*")) == ["b"]


def test_a_lock_on_a_file_that_its_holder_has_unlinked_keeps_others_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks: list[int] = []

    def flock(stream: Any, operation: int) -> None:
        if not locks:
            (tmp_path / ".b.lock").unlink()  # its holder ends between our opening and our locking
        locks.append(operation)
        fcntl_flock(stream, operation)

    fcntl_flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", flock)
    with staged(tmp_path / "b"), pytest.raises(DllmEdgeError, match="another export"), staged(tmp_path / "b"):
        pass
    assert len(locks) == 3


def test_all_is_on_the_disk_before_it_has_its_name_and_before_the_old_is_removed(
    tmp_path: Path, exchanging: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that outlives a power cut has its content, and the old one goes only once the new one's name is durable."""
    happened: list[str] = []

    def noted(module: Any, name: str, what: str) -> None:
        real = getattr(module, name)

        def run(*arguments: Any, **options: Any) -> Any:
            first = os.readlink(f"/proc/self/fd/{arguments[0]}") if name == "fsync" else arguments[0]
            done = real(*arguments, **options)
            if done is not False:
                happened.append(f"{what} {Path(first).relative_to(tmp_path)}".replace(str(os.getpid()), "PID"))
            return done

        monkeypatch.setattr(module, name, run)

    noted(os, "fsync", "sync")
    noted(os, "rename", "rename")
    noted(shutil, "rmtree", "remove")
    noted(staging, "exchanged", "rename")
    fill(tmp_path / "b", "old")
    stage(tmp_path / "b", "new")(Interruption(0, kill, False))
    partial = ".b.partial-PID"
    synced = {f"sync {partial}/{file}" for file in FILES} | {f"sync {partial}", f"sync {partial}/weights"}
    assert set(happened[: len(synced)]) == synced
    renames = [f"rename {partial}"] if exchanging else ["rename b", f"rename {partial}"]
    condemned = [] if exchanging else ["rename .b.replaced-PID"]
    assert happened[len(synced) :] == [*renames, "sync .", *condemned, f"remove {partial}"]


def test_an_exchange_is_one_step(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange.exchanged(tmp_path / "first", tmp_path / "second"):
        pytest.skip("this file system exchanges nothing")
    assert (tmp_path / "first" / "second").exists()
    assert (tmp_path / "second" / "first").exists()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        exchange.exchanged(tmp_path / "first", tmp_path / "nowhere")


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM])
def test_without_an_exchange_it_says_so(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def library(result: int) -> Any:
        return type("Library", (), {"renameat2": staticmethod(lambda *_: result)})

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: library(-1))
    monkeypatch.setattr(ctypes, "get_errno", lambda: number)
    assert not exchange.exchanged(tmp_path, tmp_path)
    monkeypatch.setattr(ctypes, "get_errno", lambda: errno.EACCES)
    with pytest.raises(PermissionError):
        exchange.exchanged(tmp_path, tmp_path)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    assert not exchange.exchanged(tmp_path, tmp_path)
