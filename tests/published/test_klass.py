"""KLASS on LLaDA, block by block, and on Dream: with all ids as candidates, so that divergences are over all ids."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from dllm_edge.graphs import contract
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine

from ..exported_once import exported_once, shared_folder
from .cases import Case, read_cases
from .checkpoints import VOCABULARY, write_checkpoint
from .comparison import Asked, Published, hold, hold_documented

LLADA, DREAM = "klass_llada", "klass_dream"
ONE_OF_THE_READY = "by `max_conf` and `min_kl` it commits one of those that are ready"
DEPARTURES = {
    LLADA: dict.fromkeys((12, 13, 31, 32, 46, 47), ONE_OF_THE_READY),
    DREAM: dict.fromkeys((20, 21, 42, 43, 64, 65), ONE_OF_THE_READY),
}


@pytest.fixture(scope="module")
def knowing_all(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Published]:
    """As `published`, of bundles whose steps return every id."""
    opened: dict[str, Published] = {}

    def open_bundle(checkpoint: str) -> Published:
        if checkpoint not in opened:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(contract, "TOP_K", VOCABULARY)
                place = shared_folder(tmp_path_factory) / f"published-{checkpoint}-all"
                bundle = Bundle.open(exported_once(place, partial(write_checkpoint, checkpoint)))
                opened[checkpoint] = Published(bundle, OnnxRuntimeEngine(bundle, threads=1))
        return opened[checkpoint]

    return open_bundle


def asked(case: Case) -> Asked:
    """It gives up after `steps` forwards, whatever is masked then."""
    given = case.settings
    names = {"threshold": "conf_threshold", "kl_threshold": "kl_threshold", "kl_steps": "kl_history_length"}
    settings = {"unmask": "klass", "early_stop": False, "max_steps": given["steps"]}
    settings |= {ours: given[theirs] for ours, theirs in names.items()}
    if case.function == "diffusion_generate":
        return Asked("vanilla", {**settings, "gen_length": given["max_new_tokens"], "block_length": 0})
    settings["steps"] = 0 if given["steps"] == given["gen_length"] else given["steps"]
    return Asked("klass", {**settings, "gen_length": given["gen_length"], "block_length": given["block_length"]})


@pytest.mark.parametrize("case", [*read_cases(LLADA), *read_cases(DREAM)], ids=str)
def test_released_code(case: Case, knowing_all: Callable[[str], Published]) -> None:
    hold(case, knowing_all(case.checkpoint).decode(case, asked(case)), DEPARTURES[case.system])


@pytest.mark.parametrize("system", [LLADA, DREAM])
def test_departures_are_documented(system: str) -> None:
    hold_documented(system, DEPARTURES[system])
