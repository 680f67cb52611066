from __future__ import annotations

from typing import Any

import pytest

from dllm_edge.export.tensorrt.options import BuildOptions, add_profiles, configuration, flavours_to_build
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.engines.tensorrt.library import Library


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimization_level": 6}, "optimization level 6: choose one from 0"),
        ({"optimization_level": -1}, "optimization level -1"),
        ({"workspace": 0}, "workspace of 0 bytes"),
        ({"workspace": 10**24}, "workspace of 1000000000000000000000000 bytes: give the size of a GPU's memory or less"),
    ],
)
def test_options_out_of_range(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DllmEdgeError, match=message):
        BuildOptions(**fields)


def test_the_best_flavour_that_is_taken(rtx: Library) -> None:
    assert flavours_to_build(rtx, BuildOptions()) == ("fused", "portable")
    assert flavours_to_build(rtx, BuildOptions(flavour="portable")) == ("portable",)
    assert flavours_to_build(Library("tensorrt", "10.3.0", None), BuildOptions()) == ("portable",)


def test_the_configuration_is_what_was_chosen(rtx: Library) -> None:
    trt = rtx.module
    builder = trt.Builder(rtx.logger)
    before = builder.create_builder_config()
    config = configuration(rtx, builder, ("sm86", "sm120"), BuildOptions(optimization_level=1, workspace=1 << 26))
    assert config.builder_optimization_level == 1
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 1 << 26
    chosen = [config.get_compute_capability(index) for index in range(config.num_compute_capabilities)]
    assert chosen == [trt.ComputeCapability.SM86, trt.ComputeCapability.SM120]
    # Precision is in the graph's types alone.
    assert before.get_flag(trt.BuilderFlag.TF32)
    expected = before.flags & ~(1 << int(trt.BuilderFlag.TF32))
    assert config.flags == expected | 1 << int(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    unlimited = configuration(rtx, builder, ("sm86",), BuildOptions())
    assert unlimited.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == before.get_memory_pool_limit(
        trt.MemoryPoolType.WORKSPACE
    )


def test_tensors_that_are_too_large(rtx: Library) -> None:
    builder = rtx.module.Builder(rtx.logger)
    config = configuration(rtx, builder, ("sm86",), BuildOptions())
    shapes = [{"rows": (2 * 32 * 32 * 8192, 128), "indices": (1,)}]
    with pytest.raises(DllmEdgeError, match="rows would be 16777216 x 128, more numbers than TensorRT takes in one tensor"):
        add_profiles(builder, config, shapes)
