"""From the results of the jobs to numbers beside their targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..finding import Finding
from .attention import FORMS
from .bandwidth import share
from .job import Job

Outcome = dict[str, Any]
LEAST_SHARE, MOST_HOST_MICROSECONDS, LEAST_SPEEDUP, SPEEDUP_SHAPE = 80.0, 100.0, 2.0, "1.5b"


def findings(outcomes: Sequence[Outcome]) -> list[Finding]:
    """Return a finding for each number that was measured, in the jobs' order."""
    bandwidth = _measured_bandwidth(outcomes)
    numbers: list[Finding] = []
    for outcome in outcomes:
        if "result" in outcome:
            numbers += _READERS[outcome["job"]["part"]](outcome, outcomes, bandwidth)
    return numbers


def _measured_bandwidth(outcomes: Sequence[Outcome]) -> float | None:
    """Return bytes a second, None where they were not measured."""
    measured = (outcome["result"] for outcome in outcomes if outcome["job"]["part"] == "bandwidth" and "result" in outcome)
    return next((float(result["copy_bandwidth"]) for result in measured), None)


def _bandwidth(outcome: Outcome, _all: Sequence[Outcome], _measured: float | None) -> Iterator[Finding]:
    bandwidth = outcome["result"]["copy_bandwidth"]
    yield Finding("copies within the GPU", bandwidth, f"{bandwidth / 1e9:.0f} GB/s read and written")


def _copies(outcome: Outcome, _all: Sequence[Outcome], _measured: float | None) -> Iterator[Finding]:
    for row in outcome["result"]:
        for name, seconds in row["seconds"].items():
            text = f"{seconds * 1e6:.0f} us, {row['bytes'] / seconds / 1e9:.1f} GB/s"
            yield Finding(f"copy of {row['bytes'] >> 10} KiB, {name}", seconds, text)


def _recording(outcome: Outcome, _all: Sequence[Outcome], _measured: float | None) -> Iterator[Finding]:
    result = outcome["result"]
    text = f"{result['replay_seconds'] * 1e6:.0f} us, launched one by one {result['launched_seconds'] * 1e6:.0f} us"
    yield Finding(f"three copies recorded, {result['replays']} replays all right", result["replay_seconds"], text)


def _label(outcome: Outcome) -> str:
    job = Job(**outcome["job"])
    return ", ".join(word for word in (job.engine, job.shape, job.compute) if word)


def _parity(outcome: Outcome, _all: Sequence[Outcome], _measured: float | None) -> Iterator[Finding]:
    for level in outcome["result"]["levels"]:
        text = "not applicable" if level["data"].get("skipped") else "holds" if level["passed"] else "FAILS"
        yield Finding(f"{_label(outcome)}: parity, {level['name']}", float(level["passed"]), text, "holds", level["passed"])


def _step(outcome: Outcome, outcomes: Sequence[Outcome], bandwidth: float | None) -> Iterator[Finding]:
    """Yield the steps' times; targets are for the last row of a context: recorded where the engine records."""
    last = {row["context"]: row for row in outcome["result"]}
    for row in outcome["result"]:
        name = f"{_label(outcome)}: step over {row['context']}, {'CUDA graph' if row['cuda_graph'] else 'launched one by one'}"
        yield Finding(name, row["seconds"], f"{row['seconds'] * 1e3:.3f} ms")
        if row is last[row["context"]] and bandwidth is not None:
            reached = 100 * share(row["bytes"], row["seconds"], bandwidth)
            yield Finding.at_least(f"{name}: share of the copies' bandwidth", reached, LEAST_SHARE, "%")
        if row is last[row["context"]]:
            yield from _speedups(outcome, row, outcomes)


def _speedups(outcome: Outcome, row: dict[str, Any], outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    """Yield speed-ups over torch in the same dtype, at the same context."""
    job = outcome["job"]
    for other in outcomes:
        their = other["job"]
        if their["part"] != "torch" or (their["shape"], their["compute"]) != (job["shape"], job["compute"]):
            continue
        for theirs in other.get("result", []):
            if theirs["context"] == row["context"]:
                ratio = theirs["seconds"] / row["seconds"]
                name = f"{_label(outcome)}: over {row['context']}, faster than {their['engine']}"
                has_target = their["engine"] == "torch" and job["shape"] == SPEEDUP_SHAPE
                yield Finding.at_least(name, ratio, LEAST_SPEEDUP) if has_target else Finding(name, ratio, f"{ratio:.2f}x")


def _host(outcome: Outcome, _all: Sequence[Outcome], _measured: float | None) -> Iterator[Finding]:
    microseconds = outcome["result"]["host_seconds"] * 1e6
    yield Finding.at_most(f"{_label(outcome)}: host, a block step", microseconds, MOST_HOST_MICROSECONDS, " us")


def _torch(outcome: Outcome, _all: Sequence[Outcome], _measured: float | None) -> Iterator[Finding]:
    for row in outcome["result"]:
        yield Finding(f"{_label(outcome)}: step over {row['context']}", row["seconds"], f"{row['seconds'] * 1e3:.3f} ms")


def _attention(outcome: Outcome, _all: Sequence[Outcome], _measured: float | None) -> Iterator[Finding]:
    for row in outcome["result"]:
        times = ", ".join(f"{form} {row['seconds'][form] * 1e6:.0f} us" for form in FORMS)
        name = f"{_label(outcome)}: attention, {row['heads']}, {row['slots']} slots"
        yield Finding(name, row["ratio"], f"{times}: {row['ratio']:.2f}x")


_READERS = {
    "bandwidth": _bandwidth,
    "copies": _copies,
    "recording": _recording,
    "parity": _parity,
    "step": _step,
    "host": _host,
    "torch": _torch,
    "attention": _attention,
}
