from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from dllm_edge.runtime.evaluation.journal import Journal
from dllm_edge.runtime.evaluation.outcome import Outcome

from ...permissions import permissions_hold

OUTCOME = Outcome("a text\nof two lines", "stop", 5, 4, 1, 160, 0.25, 0.125, 1024, 2048)
OTHER = Outcome("ü", "step_limit", 1, 1, 0, 40, 1.0, 0.5, 0, 0)
DECODE = {"system": "vanilla", "settings": {"gen_length": 16}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "reports" / "journal"


def test_what_is_kept_is_there_the_next_time(file: Path) -> None:
    first = Journal(file)
    first.keep([(first.key(DECODE), OUTCOME)])
    first.keep([(first.key({"system": "other"}), OTHER)])
    again = Journal(file)
    assert again.outcomes == {again.key(DECODE): OUTCOME, again.key({"system": "other"}): OTHER}


def test_an_outcome_is_on_the_disk_before_the_next_is_decoded(file: Path) -> None:
    journal = Journal(file)
    journal.keep([(journal.key(DECODE), OUTCOME)])
    assert Journal(file).outcomes == journal.outcomes


@pytest.mark.parametrize(
    ("conditions", "decode"),
    [({"bundle": "b"}, DECODE), ({"bundle": "a"}, {**DECODE, "settings": {"gen_length": 32}}), ({}, DECODE)],
)
def test_other_conditions_and_settings_have_other_keys(conditions: dict[str, str], decode: dict[str, object]) -> None:
    key = Journal(None, {"bundle": "a"}).key
    assert key(DECODE) == key(dict(reversed(DECODE.items())))
    assert key(DECODE) != Journal(None, conditions).key(decode)


@pytest.mark.parametrize(
    "damage",
    [
        b'{"key": "x", "outcome": {"text": "',
        b"\xff\xfe\n",
        b"[]\n",
        b"7\n",
        b'{"outcome": {}}\n',
        b'{"key": "x", "outcome": {"text": 1}}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_lines_that_are_no_outcomes_are_passed_over(file: Path, damage: bytes) -> None:
    journal = Journal(file)
    journal.keep([(journal.key(DECODE), OUTCOME)])
    file.write_bytes(file.read_bytes() + damage)
    again = Journal(file)
    assert again.outcomes == journal.outcomes
    again.keep([(again.key({"system": "other"}), OTHER)])
    assert list(Journal(file).outcomes.values()) == [OUTCOME, OTHER]


def test_fresh_forgets(file: Path) -> None:
    journal = Journal(file)
    journal.keep([(journal.key(DECODE), OUTCOME)])
    fresh = Journal(file, fresh=True)
    assert fresh.outcomes == {}
    assert Journal(file).outcomes == journal.outcomes, "nothing is lost before there is something else"
    for decode in ({"system": "one"}, {"system": "two"}):
        fresh.keep([(fresh.key(decode), OTHER)])
    assert Journal(file).outcomes == fresh.outcomes
    assert list(fresh.outcomes.values()) == [OTHER, OTHER]


@pytest.mark.filterwarnings("error")
def test_a_folder_that_is_not_to_be_written_to_is_one_warning(file: Path) -> None:
    journal = Journal(file)
    journal.keep([(journal.key(DECODE), OUTCOME)])
    file.chmod(0o444)
    with permissions_hold(), pytest.warns(UserWarning, match="cannot be written"):
        again = Journal(file)
    again.keep([(again.key({"system": "other"}), OTHER)])
    assert list(again.outcomes.values()) == [OUTCOME, OTHER]
    assert Journal(file).outcomes == journal.outcomes


@pytest.mark.filterwarnings("error")
def test_a_disk_that_fills_up_ends_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(file)
    monkeypatch.setattr(journal, "file", Path("/dev/full"))
    with pytest.warns(UserWarning, match="/dev/full: cannot be written"):
        journal.keep([(journal.key(DECODE), OUTCOME)])
    journal.keep([(journal.key(DECODE), OUTCOME)])
    assert journal.outcomes == {journal.key(DECODE): OUTCOME}


def test_a_disk_with_room_for_a_part_is_noticed(file: Path) -> None:
    journal = Journal(file)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.warns(UserWarning, match="cannot be written"):
            journal.keep([(journal.key(DECODE), OUTCOME)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.stat().st_size == 10, "a part was written"
    assert Journal(file).outcomes == {}


def test_a_pipe_in_its_place_is_not_waited_for(file: Path) -> None:
    file.parent.mkdir()
    os.mkfifo(file)
    with pytest.warns(UserWarning, match="it is a pipe"):
        assert Journal(file).outcomes == {}
