"""Confidences of the exported demo model, against a float64 softmax over the very logits that they were computed from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

import dllm_edge
from dllm_edge import load
from dllm_edge.export.bundle import export_bundle
from dllm_edge.runtime.engines.host import arrays
from dllm_edge.runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from dllm_edge.runtime.unmasking.rule import ranked

QUESTIONS = (
    "Tom has 23 apples. Tom buys 12 more. How many apples does Tom have?",
    "Leo has 5 keys. A friend gives Leo 20 more. Leo drops 7. Leo sells 9. How many keys does Leo have?",
)


@dataclass
class Answer:
    """One forward's `logits` `[R, V]`, `topk_ids` `[R, K]` and `topk_log_probs` `[R, K]`."""

    logits: NDArray[np.float32]
    ids: NDArray[np.int64]
    log_probs: NDArray[np.float32]

    @property
    def exact(self) -> NDArray[np.float64]:
        """The log probability of each row's best candidate, in float64."""
        logits = self.logits.astype(np.float64)
        best = np.take_along_axis(logits, self.ids[:, :1], -1)
        np.put_along_axis(logits, self.ids[:, :1], -np.inf, -1)
        return np.asarray(-np.log1p(np.exp(logits - best).sum(-1)))


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[Answer]:
    """What the demo model answered in every forward of two decodes, block by block."""
    bundle = tmp_path_factory.mktemp("demo") / "bundle"
    export_bundle(Path(dllm_edge.__file__).parent / "demo" / "checkpoint", bundle, flavour="fused", dtype="float32")
    return list(answered(bundle, QUESTIONS))


def answered(bundle: Path, questions: tuple[str, ...]) -> Iterator[Answer]:
    model = load(bundle, threads=1)
    engine, found, session = model.engine, list[Answer](), session_with_logits(bundle / "step.onnx")
    assert isinstance(engine, OnnxRuntimeEngine)
    run = engine.run

    def recorded(profile: Any, cache: Any, *options: Any) -> Any:
        empty = engine.buffers(engine.input_specs[len(arrays(engine.inputs(profile))) :], profile)
        inputs = dict(zip((spec.name for spec in engine.input_specs), [*arrays(engine.inputs(profile)), *empty], strict=True))
        outputs = session.run(["logits", "topk_ids", "topk_log_probs"], inputs)
        found.extend(Answer(*(output[row] for output in outputs)) for row in range(profile.batch))
        return run(profile, cache, *options)

    engine.run = recorded  # type: ignore[method-assign, assignment]
    for question in questions:
        model.generate(question, system="vanilla", unmask="quota")
    return iter(found)


def session_with_logits(path: Path) -> onnxruntime.InferenceSession:
    """Return a session of a step's graph that also returns the logits, which its head begins with."""
    model = onnx.load(path, load_external_data=False)
    (masked,) = (node.output[0] for node in model.graph.node if "head.forbidden" in node.input)
    (logits,) = (node.input[0] for node in model.graph.node if masked in node.input)
    model.graph.node.append(onnx.helper.make_node("Identity", [logits], ["logits"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None))
    onnx.save(model, path.with_name("with_logits.onnx"))
    return onnxruntime.InferenceSession(path.with_name("with_logits.onnx"), providers=["CPUExecutionProvider"])


def test_what_lacks_to_1_is_exact(answers: list[Answer]) -> None:
    for answer in answers:
        np.testing.assert_allclose(-np.expm1(answer.log_probs[:, 0].astype(np.float64)), -np.expm1(answer.exact), rtol=1e-6)


def test_as_many_values_as_in_float64(answers: list[Answer]) -> None:
    """Above 0.9999, where float32 probabilities of logits near 30 had some ninety values for thousands."""
    values = np.concatenate([answer.log_probs[:, 0] for answer in answers])
    exact = np.concatenate([answer.exact for answer in answers])
    sure = exact > np.log(0.9999)
    assert sure.sum() > 500
    assert len(np.unique(values[sure])) > 0.98 * len(np.unique(exact[sure]))


def test_the_order_of_commits_is_that_of_float64(answers: list[Answer]) -> None:
    for answer in answers:
        assert ranked(answer.log_probs[:, 0]).tolist() == np.argsort(-answer.exact, kind="stable").tolist()
