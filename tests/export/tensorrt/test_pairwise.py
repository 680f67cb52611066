from __future__ import annotations

from itertools import product
from math import prod

import pytest

from .cases import AXES, EVERY, FEW
from .pairwise import pairs_of, pairwise


@pytest.mark.parametrize("axes", [["ab", "cd"], ["abc", "de", "fgh"], ["ab", "ab", "ab", "ab"], AXES])
def test_every_pair_is_there(axes: list[str]) -> None:
    wanted = set().union(*map(pairs_of, product(*axes)))
    assert set().union(*map(pairs_of, pairwise(axes))) == wanted


def test_few_rows_hold_them_and_always_the_same() -> None:
    assert len(pairwise(["ab", "ab", "ab"])) == 4
    assert len(EVERY) == prod(map(len, AXES))
    assert 20 <= len(FEW) <= 30
    assert pairwise(AXES) == FEW
    assert set(FEW) <= set(EVERY)
