"""With a pytest of its own for each run."""

from __future__ import annotations

from pathlib import Path

import pytest

from .mutant import Mutant
from .tree import FAILED, TIMED_OUT, Tree

FILE, OWN, WIDER = "runtime/numbers.py", "tests/runtime/test_numbers.py", "tests/runtime/test_generate.py"


@pytest.mark.parametrize(
    ("old", "new", "failure"),
    [
        ("a - 1", "a + 1", None),
        ("a + 1", "a + 2", f"{WIDER}::test_step"),
        ("a < b", "[1 for _ in iter(int, 1)]", TIMED_OUT),
        ("def step", "deaf step", OWN),
    ],
)
def test_the_test_that_fails_with_a_defect_and_the_file_as_it_was_again(
    root: Path, old: str, new: str, failure: str | None
) -> None:
    source = (root / FILE).read_text()
    tree, start = Tree(root.parent / "tree"), source.index(old)
    tree.fill(root)
    mutant = Mutant(FILE, 1, "any", start, start + len(old), new)
    assert tree.failure(mutant, [OWN, WIDER], limit=3.0 if failure == TIMED_OUT else 60.0) == failure
    assert (tree.package / FILE).read_text() == source == (root / FILE).read_text()


def test_a_test_that_never_ends_is_the_one_that_fails(root: Path) -> None:
    tree, start = Tree(root.parent / "tree", test_limit=1), (root / FILE).read_text().index("a < b")
    tree.fill(root)
    endless = Mutant(FILE, 1, "any", start, start + len("a < b"), "[1 for _ in iter(int, 1)]")
    found = tree.failure(endless, [OWN, WIDER], limit=60.0)
    assert found is not None
    assert found.startswith("tests/")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("FAILED a.py::b - assert [1] == [2]", "a.py::b"),
        ("FAILED a.py::b[one two] - assert [1] == [2]", "a.py::b[one two]"),
        ("FAILED a.py::b[one - two]", "a.py::b[one - two]"),
        ("ERROR a.py - ImportError", "a.py"),
    ],
)
def test_names_of_tests_that_fail(line: str, name: str) -> None:
    found = FAILED.search(f"1 failed\n{line}\n")
    assert found is not None
    assert found[1] == name


def test_a_copy_has_what_git_would_add(root: Path) -> None:
    (root / ".gitignore").write_text("/ignored/\n")
    (root / "ignored").mkdir()
    (root / "ignored" / "file").write_text("")
    tree = Tree(root.parent / "tree")
    (tree.folder / "left").mkdir(parents=True)
    tree.fill(root)
    assert sorted(path.name for path in tree.folder.iterdir()) == ["dllm_edge"]
    assert sorted(path.name for path in tree.package.iterdir() if path.name != ".venv") == [
        ".gitignore",
        "__init__.py",
        "pyproject.toml",
        "runtime",
        "tests",
    ]
