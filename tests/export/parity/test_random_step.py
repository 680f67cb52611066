from __future__ import annotations

import torch

from dllm_edge.export.parity.random_step import random_step, repeated_step
from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.families import family_of

from ...tiny import config_json

CONFIG = family_of(config_json("llada")).config(config_json("llada"))


def test_weights_are_made_in_the_type_they_are_used_in() -> None:
    step = random_step(CONFIG, "bfloat16", "cpu")
    assert {parameter.dtype for parameter in step.parameters()} == {torch.bfloat16}
    assert all(torch.isfinite(parameter).all() and parameter.std() > 0 for parameter in step.parameters())
    assert not step.head.forbidden.any()


def test_a_step_runs_again_and_again() -> None:
    once = repeated_step(CONFIG, "bfloat16", "cpu", Profile(1, 8, 16, 4), compiled=False)
    once()
    once()
