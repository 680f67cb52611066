"""The sizes that a build is told to serve: by hand for each system, and enough for what is then decoded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.engines.fixed_sizes import FixedSizes
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.runtime.scheduler.rehearsal import derive_workload, rehearse
from dllm_edge.runtime.systems import SYSTEMS, find_system

from ..numpy_engine import ENDLESS

# A slot of a head fills the unit that tensors are aligned to, so that nothing is rounded up.
WIDE = replace(ENDLESS, head_dim=128)
SETTINGS = Settings(gen_length=24, block_length=8, unmask="threshold")


def derived(system: str, contexts: tuple[int, ...], batch: int = 1, config: ModelConfig = WIDE, **changes: object) -> Workload:
    return derive_workload(config, [(find_system(system), SETTINGS.replace(**changes))], contexts, batch)


def profiles(*sizes: tuple[int, int, int, int]) -> tuple[Profile, ...]:
    return tuple(Profile(*size) for size in sizes)


def test_vanilla_sends_the_canvas() -> None:
    assert derived("vanilla", (40, 64)) == Workload(profiles((1, 40, 1, 8), (1, 64, 1, 8)))
    assert derived("vanilla", (40,), batch=4) == Workload(profiles((1, 40, 1, 8), (4, 40, 1, 8)))


def test_saber_looks_at_ever_more_rows_and_as_a_rule_at_those_of_its_system() -> None:
    assert derived("saber", (40,), unmask="saber") == Workload(profiles((1, 40, 1, 8), (1, 40, 1, 16), (1, 40, 1, 24)))
    for system in ("vanilla", "fast-dllm-dual", "sparse-dllm"):
        assert derived(system, (40,), unmask="saber") == derived(system, (40,))


def test_a_shadow_block_is_sent_and_predicted_beside_the_canvas() -> None:
    assert derived("wino", (40,), unmask="wino") == Workload(profiles((1, 48, 1, 16)))
    assert derived("fast-dllm-dual", (40,), unmask="wino") == derived("fast-dllm-dual", (40,))


def test_conv_is_one_block() -> None:
    assert derived("conv", (40,), unmask="conv", block_length=0) == Workload(profiles((1, 40, 1, 24)))


def test_edits_ask_for_no_sizes_of_their_own() -> None:
    for system in ("vanilla", "fast-dllm-prefix", "streaming-dllm"):
        assert derived(system, (40,), unmask="token-editing") == derived(system, (40,))


def test_branches_are_sent_in_any_number_and_no_draft_comes_true() -> None:
    """LoPA tries all but the last mask, or none; of the canvas there is a forward for each token."""
    drafts = profiles((1, 8, 40, 8), (1, 16, 40, 16), (1, 24, 40, 24))
    assert derived("ssd", (40,), branches=2) == Workload(profiles((1, 40, 1, 8)) + drafts)
    whole = profiles((1, 40, 1, 8), (1, 80, 1, 16), (1, 120, 1, 24))
    assert derived("ssd", (40,), branches=2, cache="none") == Workload(whole)
    assert derived("lopa", (40,), branches=2) == Workload(profiles((1, 40, 1, 8)) + drafts[::2])
    for branches in (0, 3):
        forwards = rehearse(WIDE, (find_system("ssd"), SETTINGS.replace(branches=branches)), 40).forwards
        assert len(forwards) == 24


def test_blocks_in_flight_send_and_predict_all_that_is_not_kept() -> None:
    partial = profiles((1, 8, 40, 8), (1, 16, 40, 16), (1, 24, 40, 24))
    assert derived("d3llm", (40,)) == Workload(profiles((1, 40, 1, 24)) + partial)
    assert derived("d3llm", (40,), cache_delay=24) == Workload(profiles((1, 40, 1, 24)))


def test_refreshes_share_a_step_while_they_are_small() -> None:
    large = derived("fast-dllm-dual", (120,), batch=20).profiles
    assert {profile.batch for profile in large if profile.queries == 120} == {1}
    assert {profile.batch for profile in large if profile.queries == 8} == {1, 20}


def test_the_dual_cache_sends_the_canvas_and_blocks_together() -> None:
    assert derived("fast-dllm-dual", (40,)) == Workload(profiles((1, 40, 1, 8), (1, 8, 40, 8)))
    assert derived("fast-dllm-dual", (40,), batch=4) == Workload(
        profiles((1, 40, 1, 8), (4, 40, 1, 8), (1, 8, 40, 8), (4, 8, 40, 8))
    )


def test_the_prefix_cache_sends_ever_shorter_windows() -> None:
    assert derived("fast-dllm-prefix", (40,)) == Workload(
        profiles((1, 40, 1, 8), (1, 8, 40, 8), (1, 16, 40, 8), (1, 24, 40, 8))
    )


def test_eviction_scores_what_is_staged_and_keeps_a_part() -> None:
    found = derived("sparse-dllm", (40, 72), retention=0.25)
    assert found.profiles == profiles((1, 40, 1, 8), (1, 72, 1, 8), (1, 8, 8, 8), (1, 8, 16, 8))
    assert found.saliency == (40, 72)
    assert found.select == ((40, 8), (40, 16), (72, 8), (72, 16))


def test_a_pruned_suffix_has_refreshes_of_its_own_width() -> None:
    """Refreshes of less than three quarters of the cache are as wide as what is left; steps send block, window and last."""
    assert derived("streaming-dllm", (40,), retention=1.0, window=3, gen_length=32) == Workload(
        profiles((1, 20, 1, 8), (1, 28, 1, 8), (1, 40, 1, 8), (1, 8, 40, 8), (1, 12, 40, 8))
    )


def test_a_pruned_suffix_and_eviction() -> None:
    """What is evicted lies in a buffer of the refresh's own width; of a prefix of 32 in the last block, half stays."""
    found = derived("streaming-dllm", (40,), retention=0.5, window=3, gen_length=32)
    assert found.saliency == (20, 28, 36, 40)
    assert found.select == ((20, 16), (28, 16), (36, 16), (40, 16))
    assert {profile.capacity for profile in found.profiles} == {1, 16}


@pytest.mark.parametrize("length", [33, 42, 52, 53, 72])
@pytest.mark.parametrize("system", SYSTEMS)
def test_systems_of_one_build_do_not_take_each_others_widths(system: str, length: int) -> None:
    """A shorter canvas is padded to a width that its own system has all it needs for."""
    settings = SETTINGS.replace(gen_length=32, window=3)
    uses = [(find_system(name), settings.replace(**find_system(name).defaults)) for name in SYSTEMS]
    sizes = FixedSizes(derive_workload(WIDE, uses, [72]), 1, "build it")
    (use,) = [use for use in uses if use[0].name == system]
    rehearse(WIDE, use, length, sizes)


def test_one_block_of_all() -> None:
    assert derived("vanilla", (30,), block_length=0) == Workload(profiles((1, 30, 1, 24)))


def test_sizes_are_multiples_that_keep_tensors_aligned() -> None:
    config = replace(ENDLESS, heads=3, kv_heads=3, head_dim=64)
    assert derived("fast-dllm-dual", (41,), config=config) == Workload(profiles((1, 42, 2, 8), (1, 8, 42, 8)))


def test_uses_are_joined() -> None:
    uses = [(find_system(name), SETTINGS) for name in ("vanilla", "fast-dllm-dual")]
    assert derive_workload(WIDE, uses, [40]) == derived("fast-dllm-dual", (40,))


def test_a_context_without_room_for_a_prompt() -> None:
    with pytest.raises(
        DllmEdgeError,
        match=r"context 24, .* use --context 25 or more, or --gen-length 23 or less$",
    ):
        derived("vanilla", (24,))


def test_a_context_that_the_model_does_not_have() -> None:
    with pytest.raises(DllmEdgeError, match=r"more than the \d+ positions of this model: use --context 128$"):
        derived("vanilla", (ENDLESS.max_positions + 1,))
