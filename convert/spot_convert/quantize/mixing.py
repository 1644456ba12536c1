"""Which layers are worth a higher precision: found by the error of each alone, chosen by measurement on validation.

The layers stand in the order of what each, quantized alone, does to the scores of calibration pictures, for what
raising it costs. More and more of them are raised, and each time the whole file is measured on validation, until the
drift gate passes or the budget ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from spot_bench.data.predictions import Predictions
from spot_bench.drift.comparison import compare
from spot_bench.drift.gate import judge_drift
from spot_bench.run.settings import Budget
from spot_bench.stats.calibration import fit_temperature, softmax
from spot_bench.stats.metrics import kl
from spot_convert.engines.tflite_converter import input_zero
from spot_convert.quantize.layers import FLOAT, Layer, Plan, as_entered, corrected, layers_of, quantized
from spot_convert.quantize.ranges import Ranges
from spot_convert.run import Run
from spot_convert.variants.images import calibration_tensors

__all__ = ["Choice", "logits", "mixed_plan"]

_DRAWS = 400  # resamples for a verdict on the way; the file's own has all


@dataclass(frozen=True, slots=True)
class Choice:
    """What a step of the search costs, and what validation says of it."""

    raised: int  # layers
    bytes: int  # of all weights
    products: float  # share of the multiply-accumulates in float32
    divergence: float  # of the scores from float32's, mean over validation
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
    say: Callable[[str], None],
) -> tuple[Plan, bytes, list[Choice]]:
    """`plan` with the layers that need it raised to `raised` bits, `body` corrected for it, and all steps."""
    every = layers_of(body)
    order = _in_order(body, ranges, plan, [layer for layer in every if plan.bits(layer) < raised], raised, inputs)
    validation = _validation(run, body)
    found: list[tuple[Choice, Plan, bytes]] = []
    for tried in _steps(order, every, plan, raised, run.budget):
        biased = corrected(body, ranges, tried, inputs)
        choice = _judge(run, validation, quantized(biased, ranges, tried), tried, every)
        found.append((choice, tried, biased))
        say(
            f"  {choice.raised} of {len(every)} layers in {raised} bits, {choice.bytes / 1e6:.2f} MB of weights: "
            f"divergence {choice.divergence:.5f}, {choice.verdict}"
        )
        if choice.verdict == "pass":
            break
    _, plan, biased = found[-1] if found[-1][0].verdict == "pass" else min(found, key=lambda one: one[0].divergence)
    return plan, biased, [choice for choice, _, _ in found]


def _in_order(
    body: bytes, ranges: Ranges, plan: Plan, layers: list[Layer], raised: int, inputs: Sequence[NDArray[np.float32]]
) -> list[Layer]:
    """`layers`, those first that do the most harm for what raising them costs."""
    upper = replace(plan, layers={layer.name: raised for layer in layers})
    reference = softmax(logits(quantized(body, ranges, upper), inputs))
    every = layers_of(body)
    worth = {}
    for layer in layers:
        alone = upper.but(layer, plan.weights)
        biased = corrected(body, ranges, alone, inputs, only=layer)
        harm = kl(reference, softmax(logits(quantized(biased, ranges, alone), inputs)))
        saved = 1 - _bytes(alone, every) / _bytes(upper, every) + _products(upper, every) - _products(alone, every)
        worth[layer.name] = harm / saved
    return sorted(layers, key=lambda layer: -worth[layer.name])


def _steps(order: list[Layer], every: list[Layer], plan: Plan, raised: int, budget: Budget) -> Iterator[Plan]:
    """`plan` with none, one, two, three, five, eight ... of the first layers raised that the budget has room for."""
    at_most = budget.bytes * _bytes(plan, every)
    plans = [plan]
    for layer in order:
        tried = plans[-1].but(layer, raised)
        if _bytes(tried, every) <= at_most and _products(tried, every) <= budget.products:
            plans.append(tried)
    count, following = 0, 1
    while count < len(plans) - 1:
        yield plans[count]
        count, following = following, count + following if count else 2
    yield plans[-1]


def _bytes(plan: Plan, layers: Sequence[Layer]) -> int:
    return sum(layer.weights * plan.bits(layer) // 8 for layer in layers)


def _products(plan: Plan, layers: Sequence[Layer]) -> float:
    """The share of the multiply-accumulates in float32."""
    floats = sum(layer.products for layer in layers if plan.bits(layer) == FLOAT)
    return floats / sum(layer.products for layer in layers)


def _validation(run: Run, body: bytes) -> _Validation:
    """Validation as what enters the network, and what the float network answers."""
    items = list(run.manifest.part("val").items)
    zero, scale = input_zero(run), np.float32(run.pixel_scale)
    tensors = calibration_tensors(items, run.image)
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
    return _Validation(inputs, _calibrated(found, found.logits))


def _judge(run: Run, validation: _Validation, file: bytes, plan: Plan, every: list[Layer]) -> Choice:
    found = _calibrated(validation.float32, logits(file, validation.inputs))
    drift = judge_drift(compare(validation.float32, found, draws=_DRAWS), run.margins, measured_on="validation")
    divergence = kl(softmax(validation.float32.logits), softmax(found.logits))
    return Choice(len(plan.layers), _bytes(plan, every), _products(plan, every), divergence, drift.verdict)


def _calibrated(found: Predictions, logits: NDArray[np.float32]) -> Predictions:
    temperature = fit_temperature(logits, found.truth)
    return replace(found, logits=logits, scores=softmax(logits, temperature).astype(np.float32))


def logits(file: bytes, inputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The mean of the evidence for each picture."""
    engine = Interpreter(model_content=file)
    engine.allocate_tensors()
    entry = engine.get_input_details()[0]
    (evidence,) = (
        detail for name, detail in engine.get_signature_runner().get_output_details().items() if name == "evidence"
    )
    scale, zero = evidence["quantization"]
    rows = []
    for tensor in inputs:
        engine.set_tensor(entry["index"], as_entered(tensor, entry))
        engine.invoke()
        mean = engine.get_tensor(evidence["index"]).mean(axis=(0, 1, 2), dtype=np.float64)
        rows.append((mean - zero) * (scale or 1.0))
    return np.asarray(rows, np.float32)
