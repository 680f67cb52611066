"""Running a job in a process of its own, with a limit on its time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from . import once
from .job import Job


def run_job(job: Job, limit: float) -> dict[str, Any]:
    """Return the job with its `result`, or the `error` that kept it from one, and the `seconds` that it took to end."""
    command = [sys.executable, "-m", once.__name__, json.dumps(job.to_json())]
    started = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=limit)
        outcome = _read(done)
    except subprocess.TimeoutExpired:
        outcome = {"error": f"took longer than {limit:.0f} s: give more with --limit"}
    return {"job": job.to_json(), "seconds": time.perf_counter() - started, **outcome}


def _read(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    lines, complaints = done.stdout.strip().splitlines(), done.stderr.strip().splitlines()
    if done.returncode:
        return {"error": complaints[-1].removeprefix("error: ") if complaints else f"ended with exit code {done.returncode}"}
    warned = [line.strip() for line in complaints if "Warning:" in line]
    try:
        result = json.loads(lines[-1])
    except (IndexError, ValueError):
        last = f"its last line is {lines[-1]!r}" if lines else "it wrote nothing"
        return {"error": f"ended without a result ({last}): send this line"}
    return {"result": result} | ({"warnings": warned} if warned else {})
