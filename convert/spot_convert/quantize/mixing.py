"""Mixed precision: find the layers that need more bits, and raise as few of them as possible.

First quantize each layer alone and measure how much it changes the scores of the calibration images. Order the layers
by that error per cost of raising them. Then raise more and more of them, and evaluate the whole file on validation each
time, until the drift gate passes or the budget is used up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from spot_bench.data.predictions import Predictions
from spot_bench.drift.comparison import compare
from spot_bench.drift.gate import evaluate_drift
from spot_bench.run.settings import Budget
from spot_bench.stats.calibration import fit_temperature, softmax
from spot_bench.stats.metrics import kl
from spot_convert.engines.tflite_converter import input_zero
from spot_convert.images import image_tensors
from spot_convert.quantize.layers import FLOAT, Layer, Plan, as_input, corrected, layers_of, quantized
from spot_convert.quantize.ranges import Ranges
from spot_convert.run import Run

__all__ = ["SearchStep", "logits", "mixed_plan"]

_DRAWS = 400  # bootstrap draws during the search; the verdict in the finished file uses all


@dataclass(frozen=True, slots=True)
class SearchStep:
    """What one step of the search costs, and its result on validation."""

    raised: int  # layers
    bytes: int  # of all weights
    products: float  # share of the multiply-accumulates in float32
    divergence: float  # of the scores from float32's, averaged over validation
    verdict: str


@dataclass(frozen=True, slots=True)
class _Validation:
    inputs: list[NDArray[np.float32]]
    float32: Predictions


def mixed_plan(
    run: Run,
    body: bytes,
    ranges: Ranges,
    plan: Plan,
    raised: int,
    inputs: Sequence[NDArray[np.float32]],
    log: Callable[[str], None],
) -> tuple[Plan, bytes, list[SearchStep]]:
    """Search which layers of `plan` to raise to `raised` bits.

    Return the plan with these layers raised, `body` with biases corrected for it, and all steps of the search.
    """
    layers = layers_of(body)
    order = _by_worth(body, ranges, plan, [layer for layer in layers if plan.bits(layer) < raised], raised, inputs)
    validation = _validation(run, body)
    tried: list[tuple[SearchStep, Plan, bytes]] = []
    for candidate in _candidates(order, layers, plan, raised, run.budget):
        biased = corrected(body, ranges, candidate, inputs)
        step = _evaluate(run, validation, quantized(biased, ranges, candidate), candidate, layers)
        tried.append((step, candidate, biased))
        log(
            f"  {step.raised} of {len(layers)} layers in {raised} bits, {step.bytes / 1e6:.2f} MB of weights: "
            f"divergence {step.divergence:.5f}, {step.verdict}"
        )
        if step.verdict == "pass":
            break
    _, plan, biased = tried[-1] if tried[-1][0].verdict == "pass" else min(tried, key=lambda one: one[0].divergence)
    return plan, biased, [step for step, _, _ in tried]


def _by_worth(
    body: bytes, ranges: Ranges, plan: Plan, layers: list[Layer], raised: int, inputs: Sequence[NDArray[np.float32]]
) -> list[Layer]:
    """Sort `layers` by the error that each alone causes, divided by what raising it costs; the largest first."""
    upper = replace(plan, layers={layer.name: raised for layer in layers})
    reference = softmax(logits(quantized(body, ranges, upper), inputs))
    every = layers_of(body)
    worth = {}
    for layer in layers:
        alone = upper.but(layer, plan.weights)
        biased = corrected(body, ranges, alone, inputs, only=layer)
        error = kl(reference, softmax(logits(quantized(biased, ranges, alone), inputs)))
        saved = 1 - _bytes(alone, every) / _bytes(upper, every) + _products(upper, every) - _products(alone, every)
        worth[layer.name] = error / saved
    return sorted(layers, key=lambda layer: -worth[layer.name])


def _candidates(order: list[Layer], layers: list[Layer], plan: Plan, raised: int, budget: Budget) -> Iterator[Plan]:
    """Yield `plan` with 0, 1, 2, 3, 5, 8 ... of the first layers raised that fit into the budget."""
    at_most = budget.bytes * _bytes(plan, layers)
    plans = [plan]
    for layer in order:
        larger = plans[-1].but(layer, raised)
        if _bytes(larger, layers) <= at_most and _products(larger, layers) <= budget.products:
            plans.append(larger)
    count, following = 0, 1
    while count < len(plans) - 1:
        yield plans[count]
        count, following = following, count + following if count else 2
    yield plans[-1]


def _bytes(plan: Plan, layers: Sequence[Layer]) -> int:
    return sum(layer.weights * plan.bits(layer) // 8 for layer in layers)


def _products(plan: Plan, layers: Sequence[Layer]) -> float:
    """Return the share of the multiply-accumulates in float32."""
    floats = sum(layer.products for layer in layers if plan.bits(layer) == FLOAT)
    return floats / sum(layer.products for layer in layers)


def _validation(run: Run, body: bytes) -> _Validation:
    """Prepare the validation images as network inputs, with the predictions of the float network."""
    items = list(run.manifest.split("val").items)
    zero, scale = input_zero(run), np.float32(run.pixel_scale)
    tensors = image_tensors(items, run.image)
    inputs = [(tensor[np.newaxis].astype(np.float32) - zero) * scale for tensor in tensors]
    labels = [label.label for label in run.labels]
    found = Predictions(
        labels=tuple(labels),
        truth=np.array([labels.index(item.label) for item in items], np.int64),
        scores=np.empty(0, np.float32),
        logits=logits(body, inputs),
        groups=np.array([item.group for item in items]),
        images=np.array([run.manifest.name(item) for item in items]),
        malignant=tuple(label.malignant for label in run.labels),
    )
    return _Validation(inputs, _temperature_scaled(found, found.logits))


def _evaluate(run: Run, validation: _Validation, file: bytes, plan: Plan, layers: list[Layer]) -> SearchStep:
    found = _temperature_scaled(validation.float32, logits(file, validation.inputs))
    drift = evaluate_drift(compare(validation.float32, found, draws=_DRAWS), run.margins, measured_on="validation")
    divergence = kl(softmax(validation.float32.logits), softmax(found.logits))
    return SearchStep(len(plan.layers), _bytes(plan, layers), _products(plan, layers), divergence, drift.verdict)


def _temperature_scaled(predictions: Predictions, logits: NDArray[np.float32]) -> Predictions:
    temperature = fit_temperature(logits, predictions.truth)
    return replace(predictions, logits=logits, scores=softmax(logits, temperature).astype(np.float32))


def logits(file: bytes, inputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Run a body on `inputs` and return the mean of its evidence, one row per image."""
    engine = Interpreter(model_content=file)
    engine.allocate_tensors()
    entry = engine.get_input_details()[0]
    (evidence,) = (
        detail for name, detail in engine.get_signature_runner().get_output_details().items() if name == "evidence"
    )
    scale, zero = evidence["quantization"]
    rows = []
    for tensor in inputs:
        engine.set_tensor(entry["index"], as_input(tensor, entry))
        engine.invoke()
        mean = engine.get_tensor(evidence["index"]).mean(axis=(0, 1, 2), dtype=np.float64)
        rows.append((mean - zero) * (scale or 1.0))
    return np.asarray(rows, np.float32)
