from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.decoding.settings import DECLARED, Setting, Settings, declare, with_settings
from dllm_edge.runtime.systems import SYSTEMS, find_system
from dllm_edge.runtime.unmasking import RULES

COMPARING = ("hierarchical", "local-leap", "klass")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gen_length": 0}, "gen_length=0: must be at least 1"),
        ({"block_length": -1}, "block_length=-1: must be at least 0"),
        ({"steps": -1}, "steps=-1: must be between 0 and 1e+06"),
        ({"steps": 10**6 + 1}, "steps=1000001: must be between 0 and 1e+06"),
        ({"refresh": -1}, "refresh=-1: must be at least 0"),
        ({"delay": -1}, "delay=-1: must be at least 0"),
        ({"max_steps": -1}, "max_steps=-1: must be at least 0"),
        ({"max_steps": 10**5000}, "max_steps=a number of thousands of digits: must be at most 9007199254740992"),
        ({"max_steps": 1 << 54}, "max_steps=18014398509481984: must be at most 9007199254740992"),
        ({"gen_length": True}, "gen_length=True: must be a whole number"),
        ({"gen_length": "x" * 500}, "...: must be a whole number"),
        ({"gen_length": "1_6"}, "gen_length=1_6: must be a whole number"),
        ({"threshold": b"0.5"}, "threshold=b'0.5': must be a number"),
        ({"threshold": None}, "threshold=None: must be a number"),
        ({"kernel": 0}, "kernel=0: must be at least 1"),
        ({"kernel": 4}, "kernel=4: must be odd"),
        ({"unmask": "all"}, f"unmask=all: must be one of {', '.join(RULES)}"),
        ({"confidence": "best"}, "confidence=best: must be one of maskgit_plus, topk_margin, entropy, random"),
        ({"threshold": -0.1}, "threshold=-0.1: must be between 0 and 1.01"),
        ({"threshold": 1.02}, "threshold=1.02: must be between 0 and 1.01"),
        ({"threshold": float("nan")}, "threshold=nan: must be between"),
        ({"factor": 0.0}, "factor=0.0: must be between 1e-06 and 1e"),
        ({"retention": 1.1}, "retention=1.1: must be between 0 and 1"),
        ({"retention": -0.1}, "retention=-0.1: must be between 0 and 1"),
        ({"temperature": -1.0}, "temperature=-1.0: must be between 0 and 100"),
        ({"temperature": float("inf")}, "temperature=inf: must be between"),
        ({"unmask": "threshold", "confidence": "entropy"}, "unmask=threshold compares probabilities"),
        ({"unmask": "factor", "confidence": "entropy"}, "unmask=factor compares probabilities"),
        ({"window": -1}, "window=-1: must be at least 0"),
        ({"trailing": -1}, "trailing=-1: must be at least 0"),
        ({"confidence_alpha": 1.5}, "confidence_alpha=1.5: must be between 0 and 1"),
        ({"mask_ratio": "suffix"}, "mask_ratio=suffix: must be one of window, block"),
        ({"stop_at": "word"}, "stop_at=word: must be one of text, block"),
        ({"unmask": "frechet", "confidence": "entropy"}, "unmask=frechet compares probabilities"),
        (
            {"unmask": "saber", "confidence": "topk_margin"},
            "has none, use confidence=maskgit_plus",
        ),
        ({"least_commits": 0}, "least_commits=0: must be at least 1"),
        ({"backtrack_one_in": -1}, "backtrack_one_in=-1: must be at least 0"),
        ({"backtrack": "rise"}, "backtrack=rise: must be one of fall, probability"),
        ({"unmask": "credit", "confidence": "topk_margin"}, "has none, use confidence=maskgit_plus"),
        *(({"unmask": rule, "confidence": "entropy"}, f"unmask={rule} compares probabilities") for rule in COMPARING),
        ({"entropy_bound": -0.1}, "entropy_bound=-0.1: must be at least 0"),
        ({"low_threshold": 1.5}, "low_threshold=1.5: must be between 0 and 1.01"),
        ({"remask_threshold": 1.5}, "remask_threshold=1.5: must be between 0 and 1"),
        ({"leap_threshold": 1.5}, "leap_threshold=1.5: must be between 0 and 1.01"),
        ({"leap_radius": -1}, "leap_radius=-1: must be at least 0"),
        ({"kl_threshold": -0.1}, "kl_threshold=-0.1: must be at least 0"),
        ({"kl_steps": 0}, "kl_steps=0: must be at least 1"),
        ({"credit_weight": -0.1}, "credit_weight=-0.1: must be between 0 and 100"),
        ({"credit_decay": 1.5}, "credit_decay=1.5: must be between 0 and 1"),
        ({"credit_power": -0.1}, "credit_power=-0.1: must be between 0 and 100"),
        ({"unmask": "conv", "confidence": "entropy"}, "unmask=conv compares probabilities"),
        ({"unmask": "wino", "confidence": "entropy"}, "unmask=wino compares probabilities"),
        ({"unmask": "token-editing", "confidence": "entropy"}, "unmask=token-editing compares probabilities"),
        ({"unmask": "conv", "conv_top_k": 5, "temperature": 0.5}, "with conv_top_k=5: use temperature=0"),
        ({"conv_top_k": 32}, "conv_top_k=32: must be between 0 and 31"),
        ({"conv_window": 0}, "conv_window=0: must be at least 1"),
        ({"conv_mult": 0.0}, "conv_mult=0.0: must be between 1e-06 and 1e+06"),
        ({"threshold_back": 1.5}, "threshold_back=1.5: must be between 0 and 1"),
        ({"edit_threshold": -0.5}, "edit_threshold=-0.5: must be between 0 and 1"),
        ({"max_post_edit_steps": -1}, "max_post_edit_steps=-1: must be at least 0"),
        ({"branches": -1}, "branches=-1: must be between 0 and 255"),
        ({"cache": "prefix"}, "cache=prefix: must be one of dual, none"),
        ({"block_add_threshold": 1.5}, "block_add_threshold=1.5: must be between 0 and 1"),
        ({"cache_delay": -1}, "cache_delay=-1: must be at least 0"),
        ({"entropy_threshold": -1.5}, "entropy_threshold=-1.5: must be between -1 and 100"),
        ({"frechet_margin": 1.5}, "frechet_margin=1.5: must be between -1e+06 and 1"),
        ({"gen_length": 64, "block_length": 32, "steps": 7}, "steps=7 do not spread evenly over 2 blocks: use a multiple of 2"),
        ({"gen_length": 64, "block_length": 32, "steps": 1}, "steps=1 do not spread evenly over 2 blocks: use a multiple of 2"),
    ],
)
def test_values_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DllmEdgeError) as caught:
        Settings(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 0.0},
        {"threshold": 1.01},
        {"retention": 0.0},
        {"retention": 1.0},
        {"kernel": 1},
        {"gen_length": 1, "block_length": 1},
        {"gen_length": 100, "block_length": 0},
        {"gen_length": 64, "block_length": 32, "steps": 2},
        {"unmask": "schedule", "confidence": "entropy"},
    ],
)
def test_values_at_the_edge(changes: dict[str, Any]) -> None:
    Settings(**changes)


@pytest.mark.parametrize(
    ("changes", "block", "count", "steps"),
    [
        ({"gen_length": 64, "block_length": 16}, 16, 4, 10),
        ({"gen_length": 64, "block_length": 16, "steps": 16}, 16, 4, 4),
        ({"gen_length": 64, "block_length": 0}, 64, 1, 10),
        ({"gen_length": 64, "block_length": 0, "steps": 16}, 64, 1, 16),
        ({"gen_length": 100, "block_length": 32, "steps": 8}, 32, 4, 2),
        ({"gen_length": 8, "block_length": 32}, 32, 1, 10),
    ],
)
def test_blocks_and_their_steps(changes: dict[str, Any], block: int, count: int, steps: int) -> None:
    settings = Settings(**changes)
    assert (settings.block, settings.block_count, settings.block_steps(10)) == (block, count, steps)


def test_a_block_has_at_least_one_step() -> None:
    assert Settings().block_steps(0) == 1


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("gen_length", "64", 64),
        ("gen_length", 64.0, 64),
        ("gen_length", np.int64(64), 64),
        ("threshold", "0.5", 0.5),
        ("threshold", "1", 1.0),
        ("threshold", 1, 1.0),
        ("temperature", np.float32(0.5), 0.5),
        ("early_stop", "false", False),
        ("early_stop", "Off", False),
        ("early_stop", "no", False),
        ("early_stop", "0", False),
        ("early_stop", 0, False),
        ("early_stop", "true", True),
        ("early_stop", "on", True),
        ("early_stop", 1, True),
        ("unmask", "factor", "factor"),
    ],
)
def test_values_may_be_text(name: str, given: Any, value: Any) -> None:
    read = getattr(with_settings(Settings(), {name: given}, DECLARED, "any"), name)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("gen_length", "many", "gen_length=many: must be a whole number"),
        ("gen_length", "", "gen_length=: must be a whole number"),
        ("gen_length", "64.5", "gen_length=64.5: must be a whole number"),
        ("gen_length", 64.5, "gen_length=64.5: must be a whole number"),
        ("gen_length", None, "gen_length=None: must be a whole number"),
        ("gen_length", True, "gen_length=True: must be a whole number"),
        ("gen_length", float("inf"), "gen_length=inf: must be a whole number"),
        ("gen_length", float("nan"), "gen_length=nan: must be a whole number"),
        ("gen_length", [64], "must be a whole number"),
        ("threshold", "high", "threshold=high: must be a number"),
        ("threshold", False, "threshold=False: must be a number"),
        ("threshold", {}, "must be a number"),
        ("early_stop", "maybe", "early_stop=maybe: must be true or false"),
        ("early_stop", 2, "early_stop=2: must be true or false"),
        ("unmask", None, "unmask=None: must be one of "),
        ("unmask", ["quota"], "must be one of "),
        ("temprature", "1", "any has no setting 'temprature'; did you mean 'temperature'? it has gen_length, block_length"),
    ],
)
def test_what_cannot_be_read(name: str, given: Any, message: str) -> None:
    with pytest.raises(DllmEdgeError) as caught:
        with_settings(Settings(), {name: given}, DECLARED, "any")
    assert message in str(caught.value)


def test_changes_keep_the_rest() -> None:
    assert with_settings(Settings(threshold=0.5), {"factor": 2}, DECLARED, "any") == Settings(threshold=0.5, factor=2.0)


@pytest.mark.parametrize("name", SYSTEMS)
def test_systems_list_settings_that_exist_and_default_to_their_own(name: str) -> None:
    system = find_system(name)
    assert set(system.setting_names) <= set(DECLARED)
    assert len(set(system.setting_names)) == len(system.setting_names)
    assert all(DECLARED[setting.name] is setting for setting in system.settings)
    with_settings(Settings(), system.defaults, system.setting_names, name)


def test_settings_are_equal_by_value_and_do_not_change() -> None:
    one = Settings(threshold=0.5, gen_length=128)
    assert (one, hash(one)) == (Settings(threshold=0.5), hash(Settings(threshold=0.5)))
    assert one != Settings()
    assert one.replace(factor=2.0).values_of(("threshold", "factor", "kernel")) == {
        "threshold": 0.5,
        "factor": 2.0,
        "kernel": 3,
    }
    assert repr(one) == "Settings(threshold=0.5)"
    with pytest.raises(AttributeError, match="settings do not change"):
        one.threshold = 0.1
    with pytest.raises(AttributeError, match="no setting 'luck'"):
        _ = one.luck
    with pytest.raises(DllmEdgeError, match="unknown setting 'luck'"):
        Settings(luck=1)


def test_a_name_is_declared_once() -> None:
    with pytest.raises(AssertionError, match="there is a setting 'steps' already"):
        declare(Setting("steps", 0, "Something else."))


def test_an_unknown_system() -> None:
    with pytest.raises(DllmEdgeError, match="unknown system 'dual': choose one of vanilla, fast-dllm-prefix"):
        find_system("dual")
