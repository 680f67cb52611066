"""The file of a benchmark: whole after every outcome, so that what ends a job loses none, and a later run goes on from it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ....graphs.errors import DllmEdgeError
from .job import Job

Outcome = dict[str, Any]
# What results must have in common to stand in one file.
SAME = ("gpu", "versions")


def key(job: Job) -> str:
    """Return what tells a measurement from others: where its model lies does not."""
    return json.dumps(job.to_json() | {"bundle": ""}, sort_keys=True)


def results_of(path: Path, about: dict[str, Any]) -> dict[str, Outcome]:
    """Return the outcomes in a file that have a result, by `key`; none where there is no file.

    Raises `DllmEdgeError` where it is no such file, or of another GPU, driver or version than `about` says.
    """
    if not path.is_file():
        return {}
    again = "give another --output, or --again to measure all of it anew"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        outcomes = [(Job.from_text(json.dumps(outcome["job"])), outcome) for outcome in data["outcomes"]]
        other = [name for name in SAME if data[name] != about[name]]
    except (ValueError, KeyError, TypeError) as error:
        raise DllmEdgeError(f"{path}: is no result of this benchmark: {again}") from error
    if other:
        raise DllmEdgeError(f"{path}: holds results of another GPU, driver or version: {again}")
    return {key(job): outcome for job, outcome in outcomes if "result" in outcome}


def in_order(outcomes: Iterable[Outcome], kept: dict[str, Outcome]) -> list[Outcome]:
    """Return the outcomes of this run, then those that a file has from before and this run has not come to."""
    own = {key(Job.from_text(json.dumps(outcome["job"]))): outcome for outcome in outcomes}
    return [*own.values(), *(outcome for name, outcome in kept.items() if name not in own)]
