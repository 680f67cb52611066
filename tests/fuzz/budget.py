"""How much is tried: little and always the same in `make test`, new things for as long as is wanted in `make fuzz`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

ENDLESS = "DLLM_EDGE_FUZZ" in os.environ
MORE = 20


def examples(count: int) -> Callable[[Any], Any]:
    """Return the decorator of a test that tries `count` examples, the same each time; in `make fuzz` `MORE` times as many."""
    return settings(
        max_examples=count * (MORE if ENDLESS else 1),
        derandomize=not ENDLESS,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
