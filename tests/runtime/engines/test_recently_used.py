from __future__ import annotations

from dllm_edge.runtime.engines.recently_used import RecentlyUsed


def test_the_one_that_was_not_asked_for_longest_goes_first() -> None:
    kept: RecentlyUsed[str, int] = RecentlyUsed(2)
    assert [kept.get_or_make(name, lambda: len(kept)) for name in "abab"] == [0, 1, 0, 1]
    assert kept.get("a") == 0
    assert kept.put("c", 7) == 7
    assert [kept.get(name) for name in "abc"] == [0, None, 7]
    assert len(kept) == 2


def test_a_value_is_made_once() -> None:
    kept: RecentlyUsed[str, list[int]] = RecentlyUsed(2)
    first = kept.get_or_make("a", list)
    assert kept.get_or_make("a", list) is first
