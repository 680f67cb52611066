from __future__ import annotations

import resource
from types import SimpleNamespace

import pytest

from dllm_edge.runtime.bundle.chat.worker import allow_seconds, lower

LIMITS = {resource.RLIMIT_CPU: resource.RLIM_INFINITY, resource.RLIMIT_AS: 5000}


@pytest.fixture
def set_limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[int, int]]]:
    """What is asked of the system, which is not this test's process'."""
    asked: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: asked.append((kind, limits)))
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (17, LIMITS[kind]))
    monkeypatch.setattr(resource, "getrusage", lambda _who: SimpleNamespace(ru_utime=7.5, ru_stime=1.4))
    return asked


def test_each_prompt_has_its_own_seconds(set_limits: list[tuple[int, tuple[int, int]]]) -> None:
    allow_seconds(2)
    assert set_limits == [(resource.RLIMIT_CPU, (11, resource.RLIM_INFINITY))]


@pytest.mark.parametrize(("wanted", "given"), [(4000, 4000), (6000, 5000)])
def test_a_lower_limit_of_the_user_stays(set_limits: list[tuple[int, tuple[int, int]]], wanted: int, given: int) -> None:
    lower(resource.RLIMIT_AS, wanted)
    assert set_limits == [(resource.RLIMIT_AS, (given, 5000))]
