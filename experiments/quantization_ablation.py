"""Compare ways to prepare a network for int8 and int4: `python -m experiments.quantization_ablation RUN`.

Each row quantizes the network of RUN another way with LiteRT Quantizer and compares it with the float network on
validation. The test split is not used.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import quantizer, recipe, recipe_manager
from litert_quantizer.recipe import AlgorithmName, TFLOperationName
from numpy.typing import NDArray

from experiments.equalization import equalized
from spot_bench.report.tables import markdown
from spot_bench.stats.calibration import softmax
from spot_bench.stats.intervals import bootstrap
from spot_bench.stats.metrics import agreement, balanced_accuracy, kl
from spot_convert.engines.tflite_converter import calibration_inputs, corrected_float_body, input_zero, scaled_body
from spot_convert.images import choose_calibration_images, image_tensors
from spot_convert.modelfile.graph import Graph, pack, unpack
from spot_convert.quantize.layers import ALGORITHMS, Plan, corrected, quantize, quantized, without_dead_channels
from spot_convert.quantize.mixing import logits
from spot_convert.quantize.ranges import Ranges, activation_ranges
from spot_convert.run import Run, read_run
from spot_edge.errors import CheckError

_CORRECTION_IMAGES = 64  # as in the converter
_PATH = click.Path(path_type=Path)


@dataclass(frozen=True)
class Prepared:
    """What all rows start from."""

    plain: bytes
    analytic: bytes
    inputs: list[NDArray[np.float32]]
    ranges: Ranges

    @property
    def few(self) -> list[NDArray[np.float32]]:
        return self.inputs[:_CORRECTION_IMAGES]


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.option("--data", type=_PATH, help="Folder of the run's images [default: the one that the run names].")
def main(run: Path, data: Path | None) -> None:
    """Quantize RUN in every way, and print how each changes its predictions on validation."""
    opened = read_run(run, data)
    prepared = _prepare(opened)
    items = list(opened.manifest.split("val").items)
    zero, scale = input_zero(opened), np.float32(opened.pixel_scale)
    shown = [(one[np.newaxis].astype(np.float32) - zero) * scale for one in image_tensors(items, opened.image)]
    labels = [label.label for label in opened.labels]
    truth, groups = np.array([labels.index(item.label) for item in items]), [item.group for item in items]
    reference = logits(prepared.plain, shown)
    rows = []
    for title, make in _rows(prepared):
        try:
            file = make()
            found = logits(file, shown)
        except (CheckError, ValueError, RuntimeError) as error:
            rows.append([title, "–", f"failed: {str(error).splitlines()[0][:110]}", "", ""])
            click.echo(" | ".join(rows[-1]), err=True)
            continue
        same = bootstrap(agreement, groups, reference, found)
        balanced = bootstrap(
            lambda t, a, b: balanced_accuracy(t, b) - balanced_accuracy(t, a), groups, truth, reference, found
        )
        rows.append(
            [
                title,
                f"{len(file) / 1e6:.2f}",
                f"{np.abs(found - reference).mean():.3f}",
                f"{kl(softmax(reference), softmax(found)):.4f}",
                f"{100 * same.value:.1f} % ({100 * same.low:.1f} to {100 * same.high:.1f})",
                f"{100 * balanced.value:+.1f} ({100 * balanced.low:+.1f} to {100 * balanced.high:+.1f})",
            ]
        )
        click.echo(" | ".join(rows[-1]), err=True)
    header = ["", "MB", "mean change of a logit", "divergence", "same top class", "balanced accuracy, points"]
    click.echo(f"{len(truth)} images of {len(set(groups))} lesions of validation")
    click.echo(markdown(header, [row + [""] * (len(header) - len(row)) for row in rows]))


def _prepare(run: Run) -> Prepared:
    calibration = image_tensors(choose_calibration_images(run.manifest), run.image)
    plain = without_dead_channels(scaled_body(run))
    analytic = without_dead_channels(corrected_float_body(run, calibration))
    inputs = list(calibration_inputs(run, calibration))
    return Prepared(plain, analytic, inputs, activation_ranges(plain, inputs))


def _rows(prepared: Prepared) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield a title and a function that makes the file."""
    int8, few = Plan(), prepared.few
    yield "int8: rounded, the quantizer's own ranges", lambda: _own_ranges(prepared.plain, prepared)
    yield "int8: rounded", lambda: quantized(prepared.plain, prepared.ranges, int8)
    yield (
        "int8: bias corrected by calculation, the quantizer's own ranges",
        lambda: _own_ranges(prepared.analytic, prepared),
    )
    yield "int8: bias corrected by calculation", lambda: quantized(prepared.analytic, prepared.ranges, int8)
    yield "**int8: bias corrected by measurement**", lambda: _corrected(prepared.plain, prepared, int8)
    for title, weights in (("weights equalized across layers", True), ("activations equalized", False)):
        body = equalized(prepared.plain, prepared.inputs, weights=weights)
        ranges = activation_ranges(body, prepared.inputs)
        yield f"int8: {title}", partial(quantized, body, ranges, int8)
        yield (
            f"int8: {title}, bias corrected by measurement",
            partial(_corrected_by, body, ranges, int8, few),
        )
    for name in ALGORITHMS:
        plan = Plan(weights=4, algorithm=name)
        yield f"int4, {name}: rounded", partial(quantized, prepared.plain, prepared.ranges, plan)
        yield (
            f"int4, {name}: bias corrected by measurement",
            partial(_corrected, prepared.plain, prepared, plan),
        )
    dense = _as_fully_connected(prepared.plain)
    for title, algorithm in (
        ("min-max", AlgorithmName.MIN_MAX_UNIFORM_QUANT),
        ("GPTQ", AlgorithmName.GPTQ),
        ("Hadamard", AlgorithmName.DECOMPOSED_HADAMARD_ROTATION),
    ):
        yield (
            f"int4, 1x1 convolutions as fully connected, {title}: rounded",
            partial(_dense, dense, prepared, algorithm),
        )


def _corrected(body: bytes, prepared: Prepared, plan: Plan) -> bytes:
    return _corrected_by(body, prepared.ranges, plan, prepared.few)


def _corrected_by(body: bytes, ranges: Ranges, plan: Plan, few: list[NDArray[np.float32]]) -> bytes:
    return quantized(corrected(body, ranges, plan, few), ranges, plan)


def _own_ranges(body: bytes, prepared: Prepared) -> bytes:
    wanted = recipe.static_wi8_ai8()
    return quantize(body, wanted, _calibrated(body, wanted, prepared.inputs))


def _dense(body: bytes, prepared: Prepared, algorithm: AlgorithmName) -> bytes:
    """Quantize only the fully connected layers to four bits, with ranges over all images."""
    manager = recipe_manager.RecipeManager()
    manager.add_static_config(".*", TFLOperationName.ALL_SUPPORTED, 8, 8)
    manager.add_static_config(".*", TFLOperationName.FULLY_CONNECTED, 8, 4, algorithm_key=algorithm)
    wanted = manager.get_quantization_recipe()
    found = _calibrated(body, wanted, prepared.few)
    for name, ends in prepared.ranges.items():
        found[name] = found.get(name, {}) | ends
    return quantize(body, wanted, found)


def _calibrated(body: bytes, wanted: object, inputs: list[NDArray[np.float32]]) -> Ranges:
    """Calibrate with the quantizer's own method."""
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        images = {"serving_default": [{"image": tensor} for tensor in inputs]}
        return dict(quantizer.Quantizer(body, wanted).calibrate(images, num_threads=2))


def _as_fully_connected(body: bytes) -> bytes:
    """Rewrite 1x1 convolutions as fully connected layers, because some algorithms support only these."""
    graph = Graph(unpack(body))
    dense = schema.OperatorCodeT()
    dense.builtinCode = dense.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    dense.version = 5  # keeps the dimensions
    graph.model.operatorCodes.append(dense)
    for operator in graph.graph.operators:
        if graph.model.operatorCodes[operator.opcodeIndex].builtinCode != schema.BuiltinOperator.CONV_2D:
            continue
        kernel, options = graph.graph.tensors[operator.inputs[1]], operator.builtinOptions
        if list(kernel.shape[1:3]) != [1, 1] or (options.strideW, options.strideH) != (1, 1):
            continue
        kernel.shape = np.array([kernel.shape[0], kernel.shape[3]], np.int32)
        written = schema.FullyConnectedOptionsT()
        written.fusedActivationFunction, written.keepNumDims = options.fusedActivationFunction, True
        operator.opcodeIndex = len(graph.model.operatorCodes) - 1
        operator.builtinOptionsType, operator.builtinOptions = (
            schema.BuiltinOptions.FullyConnectedOptions,
            written,
        )
    return pack(graph.model)


if __name__ == "__main__":
    main()
