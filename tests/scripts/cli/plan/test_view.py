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


def test_phases_swap_and_profiles_are_told_apart(command: Command, llada: Path) -> None:
    arguments = ("plan", llada, "--device", "agx-orin-32gb", "--systems", "fast-dllm-dual", "--swap", "40")
    _, out, _ = command(*arguments)
    text = " ".join(out.split())
    assert "building about 55.1 GB on the device, 27.1 GB of it swap (of 40.0 GB)" in text
    assert "of it 36.0 MB for 2 profiles of the engine file" in text
    _, out, _ = command(*arguments[:-2])
    (row,) = [line.split() for line in out.splitlines() if line.startswith("fast-dllm-dual  ")]
    assert [cell for cell in row if cell in ("yes", "no", "?", "-")] == ["yes", "yes", "no"]


def test_a_dtype_that_may_overflow_is_warned_of(command: Command, llada: Path) -> None:
    _, out, _ = command("plan", llada, "--device", "l4", "--weights", "int8", "--context", "512")
    assert "warning: linear weights of int8 in groups of 32: not known to work with TensorRT 10.15" in out
