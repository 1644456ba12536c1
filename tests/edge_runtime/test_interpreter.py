"""The installed interpreters run the embedded model, and errors say what is missing."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Callable

import numpy as np
import pytest

from spot_edge.errors import InterpreterError
from spot_edge.image.source import Source
from spot_edge.image.tensor import prepare
from spot_edge.model.interpreter import RUNTIMES, Interpreter, default_threads, find_runtime, installed_runtimes

# TensorFlow warns like this whenever its own interpreter is created.
pytestmark = pytest.mark.filterwarnings("ignore:[^a-z]*Warning. tf.lite.Interpreter is deprecated:UserWarning")


@pytest.fixture(scope="module")
def tensors(draw, model) -> list[np.ndarray]:
    """A drawn lesion, its negative, black, white and noise."""
    size = model.spec.image.size
    drawn = prepare(Source.of(draw(600, 450)), model.spec.image).tensor
    noise = np.random.default_rng(5).integers(0, 256, drawn.shape, dtype=np.uint8)
    return [drawn, 255 - drawn, np.zeros_like(drawn), np.full((1, size, size, 3), 255, np.uint8), noise]


def only(module: str | None) -> Callable[[str], object]:
    """A find_spec that finds only `module`."""
    return lambda name: object() if name == module else None


@pytest.mark.parametrize("runtime", installed_runtimes())
def test_a_runtime_runs_the_embedded_model(runtime: str, model, tensors) -> None:
    interpreter = Interpreter(model, runtime=runtime, threads=1)
    assert (interpreter.runtime.name, interpreter.threads) == (runtime, 1)
    assert interpreter.runtime.version[0].isdigit()
    signature = {name: tensor.shape[1:] for name, tensor in model.signature.outputs.items()}
    for tensor in tensors:
        outputs = interpreter.invoke(tensor)
        assert {name: output.shape for name, output in outputs.items()} == signature
        assert all(output.dtype == np.float32 and np.isfinite(output).all() for output in outputs.values())
        logits = outputs["evidence"].astype(np.float64).mean(axis=(0, 1)) / model.spec.temperature
        softmax = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert np.abs(outputs["scores"] - softmax).max() < 1e-5


@pytest.mark.parametrize("runtime", installed_runtimes())
def test_outputs_depend_on_the_image_alone(runtime: str, model, tensors) -> None:
    """Not on the images before it, nor on the number of threads."""
    first = Interpreter(model, runtime=runtime, threads=1)
    expected = [first.invoke(tensor) for tensor in tensors]
    assert len({tuple(outputs["scores"].tolist()) for outputs in expected}) == len(tensors)
    for threads in (1, 2, 4):
        other = Interpreter(model, runtime=runtime, threads=threads)
        for tensor, outputs in reversed(list(zip(tensors, expected, strict=True))):
            again = other.invoke(tensor)
            assert all(np.array_equal(again[name], outputs[name]) for name in outputs), threads


@pytest.mark.parametrize("runtime", installed_runtimes())
def test_outputs_are_not_overwritten_by_the_next_call(runtime: str, model, tensors) -> None:
    interpreter = Interpreter(model, runtime=runtime, threads=1)
    scores = interpreter.invoke(tensors[0])["scores"]
    kept = scores.copy()
    interpreter.invoke(tensors[1])
    assert np.array_equal(scores, kept)


@pytest.mark.parametrize("runtime", installed_runtimes())
def test_without_its_delegate_a_runtime_scores_nearly_the_same(runtime: str, model, tensors) -> None:
    with_xnnpack, without = [Interpreter(model, runtime=runtime, threads=1, delegate=each) for each in (True, False)]
    has_xnnpack = platform.machine() not in ("armv7l", "armv8l")  # the 32-bit tflite-runtime is built without it
    assert ("DELEGATE" in operators(with_xnnpack)) == has_xnnpack
    assert "DELEGATE" not in operators(without)
    scores = [interpreter.invoke(tensors[0])["scores"] for interpreter in (with_xnnpack, without)]
    assert np.abs(scores[0] - scores[1]).max() < 0.2


def operators(interpreter: Interpreter) -> set[str]:
    """The operators that run: XNNPACK's part of the graph is one operator, DELEGATE."""
    return {each["op_name"] for each in interpreter._engine._get_ops_details()}


def test_a_runtime_that_cannot_switch_its_delegate_off_is_reported(model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spot_edge.model.interpreter.resolver_without_delegate", lambda runtime: None)
    with pytest.raises(InterpreterError, match="cannot turn off its XNNPACK delegate"):
        Interpreter(model, delegate=False)


def test_the_default_is_the_first_installed_runtime(model) -> None:
    assert Interpreter(model).runtime.name == find_runtime() == installed_runtimes()[0]


def test_an_unknown_runtime(model) -> None:
    with pytest.raises(
        InterpreterError, match="unknown runtime 'onnx': choose from ai-edge-litert, tflite-runtime, tensor"
    ):
        Interpreter(model, runtime="onnx")


def test_an_invalid_number_of_threads(model) -> None:
    with pytest.raises(InterpreterError, match="num_threads"):
        Interpreter(model, threads=-1)


@pytest.mark.parametrize("wanted", RUNTIMES)
def test_a_runtime_that_is_not_installed_says_what_to_install(wanted: str, monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", only(None))
    with pytest.raises(InterpreterError, match=f"{wanted} is not installed: pip install {wanted}"):
        find_runtime(wanted)
    assert installed_runtimes() == []


@pytest.mark.parametrize(("name", "module"), [(name, module.split(".")[0]) for name, (module, _) in RUNTIMES.items()])
def test_each_runtime_is_found_by_its_module(name: str, module: str, monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", only(module))
    assert (find_runtime(), find_runtime(name), installed_runtimes()) == (name, name, [name])


@pytest.mark.parametrize("wanted", RUNTIMES)
def test_if_all_are_installed_the_wanted_one_is_used(wanted: str, monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert (find_runtime(wanted), find_runtime()) == (wanted, "ai-edge-litert")
    assert installed_runtimes() == list(RUNTIMES)


def test_without_any_runtime_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", only(None))
    for maxsize, advice in ((2**63 - 1, "ai-edge-litert"), (2**31 - 1, "tflite-runtime")):
        monkeypatch.setattr(sys, "maxsize", maxsize)
        monkeypatch.setattr(sys, "version_info", (3, 11, 7))
        with pytest.raises(InterpreterError, match=f"no TFLite interpreter is installed: pip install {advice}$"):
            find_runtime()


def test_a_32_bit_system_with_a_new_python_is_reported_in_one_line(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", only(None))
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    monkeypatch.setattr(sys, "version_info", (3, 13, 5))
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "python_version", lambda: "3.13.5")
    with pytest.raises(InterpreterError) as refused:
        find_runtime()
    assert str(refused.value) == (
        "no TFLite interpreter exists for 32-bit systems with Python 3.13.5: use a 64-bit Raspberry Pi OS, "
        "or the 32-bit version called bookworm (Python 3.11)"
    )


@pytest.mark.parametrize(("processors", "threads"), [(1, 1), (3, 3), (4, 4), (64, 4)])
def test_as_many_threads_as_processors_but_at_most_four(processors: int, threads: int, monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(processors)), raising=False)
    assert default_threads() == threads
