"""Which tests a file's mutants meet: its own test file, then what tries it beside others."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

DECODING = (
    "tests/runtime/decoding",
    "tests/runtime/unmasking",
    "tests/runtime/scheduler",
    "tests/runtime/needs",
    "tests/runtime/test_generate.py",
    "tests/runtime/systems",
)
# By the longest name that begins a file's own.
WIDER: dict[str, tuple[str, ...]] = {
    "runtime": ("tests/runtime/test_generate_errors.py", *DECODING),
    "runtime/bundle": ("tests/runtime/bundle", "tests/runtime/test_generate.py", "tests/runtime/test_generate_errors.py"),
    "runtime/decoding": DECODING,
    "runtime/unmasking": DECODING,
    "runtime/systems": DECODING,
    "runtime/scheduler": DECODING,
    "runtime/engines": ("tests/runtime/engines", "tests/export/tensorrt/test_build.py", "tests/runtime/needs"),
    "runtime/evaluation": ("tests/runtime/evaluation", "tests/export/parity/test_task.py", "tests/scripts/cli/test_eval.py"),
    "graphs": ("tests/graphs", "tests/runtime/bundle", "tests/export/onnx", "tests/export/weights", "tests/export/plan"),
    "graphs/families": ("tests/graphs/families", "tests/export/checkpoint", "tests/export/plan"),
    "graphs/modules": ("tests/graphs", "tests/export/onnx", "tests/export/parity"),
    "export": ("tests/export/test_bundle.py", "tests/export/test_quantised_bundle.py", "tests/export/checkpoint"),
    "export/staging.py": ("tests/export/test_bundle.py", "tests/export/tensorrt/test_build.py"),
    "export/checkpoint": ("tests/export/checkpoint", "tests/export/test_bundle.py", "tests/graphs/families"),
    "export/onnx": ("tests/export/onnx", "tests/export/test_bundle.py", "tests/export/test_quantised_bundle.py"),
    "export/parity": ("tests/export/parity", "tests/scripts/cli/test_validate.py"),
    "export/plan": ("tests/export/plan", "tests/scripts/cli/plan"),
    "export/tensorrt": ("tests/export/tensorrt", "tests/scripts/cli/engine_build"),
    "export/weights": ("tests/export/weights", "tests/export/test_bundle.py", "tests/export/test_quantised_bundle.py"),
}


def own_tests(root: Path, file: str) -> list[str]:
    """Return the file's own test file, in a list for pytest; empty where it has none."""
    path = PurePosixPath(file)
    own = f"tests/{path.parent}/test_{path.stem}.py"
    return [own] if (root / own).exists() else []


def wider_tests(root: Path, file: str) -> list[str]:
    """Return what tries the file beside others, as paths for pytest."""
    begun = [name for name in WIDER if file == name or file.startswith(f"{name}/")]
    return [name for name in WIDER[max(begun, key=len)] if (root / name).exists()]


STAGES = (own_tests, wider_tests)
"""What a mutant has to pass to survive, the quick before the slow."""


def hash_of_tests(root: Path, paths: list[str]) -> str:
    """Return a hash of the names and contents of all test files under `paths`."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted((root / path).rglob("*.py")) or filter(Path.is_file, [root / path]):
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def judges(failure: str | None, paths: list[str]) -> list[str]:
    """Return whose content a result of running `paths` hangs on: the file of the test that failed, all where none did."""
    file = (failure or "").partition("::")[0]
    return [file] if file.startswith("tests/") else paths
