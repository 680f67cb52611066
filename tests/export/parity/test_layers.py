"""Level 2 finds what is wrong, and names the layer where it begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from dllm_edge.export.checkpoint.checkpoint import Checkpoint
from dllm_edge.export.parity.differences import relative_difference
from dllm_edge.export.parity.examples import PROFILES, example
from dllm_edge.export.parity.layers import check_layers, compare
from dllm_edge.export.parity.reference import reference_step
from dllm_edge.export.parity.runner import StepComparison
from dllm_edge.export.parity.torch_pair import TorchPair
from dllm_edge.export.parity.torch_runner import run_module
from dllm_edge.graphs import contract
from dllm_edge.graphs.modules.step import StepModule
from dllm_edge.runtime.arrays import Array
from dllm_edge.runtime.bundle.bundle import Bundle


@pytest.fixture
def bundle(tiny_bundle: Callable[..., Path]) -> Bundle:
    return Bundle.open(tiny_bundle("llada", "float16"))


def change(step: StepModule, name: str) -> None:
    with torch.no_grad():
        weight = step.get_parameter(f"transformer.{name}")
        weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * weight.std() * 0.5)


def test_an_export_agrees_in_every_graph(bundle: Bundle) -> None:
    level = check_layers(TorchPair(bundle.path), lambda _share: None)
    assert level.passed
    assert {line.rpartition("(")[2] for line in level.lines} == {"allowed 1.0e-04)", "allowed 3.0e-02)"}
    assert set(level.data["graphs"]) == {graph.file for graph in bundle.manifest.graphs["step"]}
    assert all(record["difference"] <= record["tolerance"] for record in level.data["graphs"].values())


@pytest.mark.parametrize(
    ("name", "first_bad"),
    [
        ("layers.0.key.weight", "new_key_values.0.key"),
        ("layers.1.value.weight", "new_key_values.1.value"),
        ("layers.0.down.weight", "layers.0.hidden"),
        ("layers.1.attention_norm.weight", "new_key_values.1.key"),
        ("lm_head.weight", "topk_log_probs"),
    ],
)
def test_the_first_bad_output_is_named(bundle: Bundle, name: str, first_bad: str) -> None:
    pair = TorchPair(bundle.path)
    change(pair.step, name)
    comparison = next(one for one in pair.comparisons() if one.compute_dtype == "float32")
    assert compare(comparison, pair.run_reference, bundle.config).first_bad == first_bad
    assert not check_layers(pair, lambda _share: None).passed


def test_the_reference_has_the_stored_weights(bundle: Bundle) -> None:
    """Read from the bundle or from the checkpoint that it was exported from, to the last bit."""
    checkpoint = Checkpoint.open(bundle.path.with_name("checkpoint"))
    own, theirs = reference_step(bundle), reference_step(bundle, checkpoint)
    for (name, weight), (_, other) in zip(own.named_parameters(), theirs.named_parameters(), strict=True):
        assert weight.dtype == torch.float32
        assert torch.equal(weight, other), name
        assert torch.equal(weight, checkpoint.read(name.removeprefix("transformer.")).float()), name


def test_not_a_number_is_a_difference() -> None:
    wanted = np.ones(3, np.float32)
    assert relative_difference(np.array([1, np.nan, 1], np.float32), wanted) == np.inf
    assert relative_difference(wanted * 1.5, wanted) == 0.5
    assert relative_difference(wanted * 300, wanted * 200) == 0.5


def test_hidden_states_follow_the_outputs(bundle: Bundle) -> None:
    """The last of them gives the head's log probabilities."""
    step, profile = reference_step(bundle), PROFILES[0]
    specs = contract.inputs(bundle.config, "float32")
    arrays = example(specs, profile, bundle.config.vocab_size, np.random.default_rng(0))
    outputs = run_module(step, {spec.name: array for spec, array in zip(specs, arrays, strict=True)})
    hidden = [outputs[f"layers.{layer}.hidden"] for layer in range(bundle.config.layers)]
    assert list(outputs)[-bundle.config.layers :] == [f"layers.{layer}.hidden" for layer in range(bundle.config.layers)]
    assert [array.shape for array in hidden] == [(1, profile.queries, bundle.config.hidden_size)] * bundle.config.layers
    with torch.inference_mode():
        logits = step.transformer.logits(torch.from_numpy(hidden[-1])[:, arrays[3][0]])
    wanted = logits.log_softmax(-1).gather(-1, torch.from_numpy(outputs["topk_ids"]))
    assert torch.allclose(wanted, torch.from_numpy(outputs["topk_log_probs"]), atol=1e-5)


@pytest.mark.parametrize("off", range(6))
def test_every_graph_and_every_profile_counts(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, off: int) -> None:
    """Three graphs at two profiles, of which one run alone is off."""
    pair, runs = TorchPair(bundle.path), count()

    def run(_inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {"topk_ids": np.zeros(1), "entropy": np.full(2, next(runs) == off, np.float32)}

    comparisons = [StepComparison(name, "float32", PROFILES[:2], lambda: run) for name in "abc"]
    monkeypatch.setattr(pair, "comparisons", lambda: comparisons)
    monkeypatch.setattr(pair, "run_reference", lambda _inputs: dict.fromkeys(("topk_ids", "entropy"), np.zeros(2)))
    monkeypatch.setattr(pair, "layers_json", lambda findings: {"bad": [finding.first_bad for finding in findings]})
    level = check_layers(pair, lambda _share: None)
    assert not level.passed
    assert level.data["bad"] == ["entropy" if graph == off // 2 else None for graph in range(3)]
    assert ["first bad output entropy" in line for line in level.lines] == [graph == off // 2 for graph in range(3)]
