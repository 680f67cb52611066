from __future__ import annotations

from pathlib import Path

from ...conftest import Command, parsed


def test_what_does_not_fit_ends_with_3_and_says_what_would(command: Command, llada: Path) -> None:
    arguments = ("plan", llada, "--device", "agx-orin-32gb", "--systems", "fast-dllm-dual")
    code, out, err = command(*arguments)
    assert (code, err) == (3, "")
    assert "fast-dllm-dual at 2048: does not fit, build lacks" in out
    assert "would fit: --weights int4 --group 128: build takes" in out
    code, out, _ = command(*arguments, "--json")
    (row,) = parsed(out)["plans"]
    assert code == 3
    assert row["fits"] is False
    assert set(row["missing_bytes"]) == {"build"}
    assert row["remedies"]


def test_taking_the_remedy_fits(command: Command, llada: Path) -> None:
    code, out, _ = command(
        "plan", llada, "--device", "agx-orin-32gb", "--weights", "int4", "--group", "128", "--context", "1024"
    )
    assert code == 0
    assert "layers int4 in groups of 128" in " ".join(out.split())


def test_nothing_helps(command: Command, llada: Path) -> None:
    code, out, _ = command("plan", llada, "--device", "orin-nano-4gb")
    assert code == 3
    assert "nothing that was tried fits orin-nano-4gb: take a larger device or a smaller model" in out
