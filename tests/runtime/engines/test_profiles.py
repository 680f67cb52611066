from __future__ import annotations

from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.engines.profiles import Workload

from ..numpy_engine import CONFIG


def test_shapes_by_graph_and_profile() -> None:
    """Three layers of two key heads of eight numbers: 12 rows of eight numbers a slot."""
    shapes = Workload((Profile(1, 4, 16, 2), Profile(3, 16, 8, 4, 2)), (16,), ((16, 8),)).shapes(CONFIG, "float16")
    assert list(shapes) == ["step", "saliency", "select"]
    small, large = shapes["step"]
    assert (small["input_ids"], small["attention_mask"]) == ((1, 4), (1, 1, 4, 20))
    assert (large["target_ids"], large["past_key_values.2.value"]) == ((3, 4, 2), (3, 2, 8, 8))
    assert shapes["saliency"] == [{"slots": (6, 2, 16, 8), "queries": (3, 2, 8)}]
    assert list(shapes["select"][0].values()) == [(192, 8), (96,)]


def test_no_graph_without_a_profile() -> None:
    assert list(Workload((Profile(1, 4, 8, 2),)).shapes(CONFIG, "float32")) == ["step"]
