"""The process for quantization-aware training: `python -m spot_convert.quantize.qat_process FOLDER`.

It runs in another environment, because TF Model Optimization needs an older Keras and NumPy 1. It reads what
`spot_convert.quantize.qat` wrote to FOLDER, writes `body.tflite` there, and prints a line for every step.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # before TensorFlow is imported

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from numpy.typing import NDArray

from spot_convert.quantize.distillation import Weight, distil

__all__ = ["main"]

_QAT = tfmot.quantization.keras
_FUSED = ("ReLU",)  # activations that the int8 kernel of the layer before computes


def _range_of(layer: Any, name: str, shape: tuple[int, ...], low: float, high: float) -> dict[str, Any]:
    """Add the variables that hold a quantizer's range."""
    ends = {"min": low, "max": high}
    return {
        f"{end}_var": layer.add_weight(
            f"{name}_{end}", shape=shape, initializer=tf_keras.initializers.Constant(value), trainable=False
        )
        for end, value in ends.items()
    }


class _PerChannel(_QAT.quantizers.LastValueQuantizer):  # type: ignore[misc, name-defined]
    """Quantize weights to int8 with one scale per channel. The original uses one scale for a whole depthwise kernel."""

    def __init__(self, axis: int) -> None:
        super().__init__(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)
        self._last = (0, 1, 3, 2) if axis == 2 else (0, 1, 2, 3)
        self._axis = axis

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        return _range_of(layer, name, (tensor_shape[self._axis],), -6.0, 6.0)

    def __call__(self, inputs: Any, training: Any, weights: Any, **others: Any) -> Any:
        channels_last = tf.transpose(inputs, self._last)
        return tf.transpose(super().__call__(channels_last, training, weights, **others), self._last)


class _Range(_QAT.quantizers.MovingAverageQuantizer):  # type: ignore[misc, name-defined]
    """Quantize an activation to int8, starting with the range of the float network; a `pinned` range stays fixed."""

    def __init__(self, low: float, high: float, *, pinned: bool = False) -> None:
        super().__init__(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)
        self._low, self._high, self._pinned = low, high, pinned

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        return _range_of(layer, name, (), self._low, self._high)

    def __call__(self, inputs: Any, training: Any, weights: Any, **others: Any) -> Any:
        return super().__call__(inputs, training and not self._pinned, weights, **others)


class _Rounded(_QAT.QuantizeConfig):  # type: ignore[misc, name-defined]
    """How to round one layer: its kernel if it has one, and its output if int8 stores that."""

    def __init__(self, kernel: str = "", axis: int = 3, output: _Range | None = None) -> None:
        self._kernel, self._output = kernel, output
        self._weights = _PerChannel(axis)

    def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
        return [(getattr(layer, self._kernel), self._weights)] if self._kernel else []

    def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
        return []

    def set_quantize_weights(self, layer: Any, quantize_weights: Sequence[Any]) -> None:
        if self._kernel:
            setattr(layer, self._kernel, quantize_weights[0])

    def set_quantize_activations(self, layer: Any, quantize_activations: Any) -> None:
        pass

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        return [self._output] if self._output else []

    def get_config(self) -> dict[str, Any]:
        return {}


def main(folder: Path) -> None:
    """Train and convert the network in `folder`."""
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    with np.load(folder / "weights.npz") as stored:
        weights = dict(stored)
    zero, scale, offset = (np.float32(task[key]) for key in ("zero", "scale", "offset"))

    def grey(batch: Any) -> Any:
        return (tf.cast(batch, tf.float32) - zero) * scale  # as the int8 input scales it

    plain = _network(task, weights, {})
    ranges = _ranges(plain, task, np.load(folder / "calibration.npy"), grey)
    ranges[""] = (float(-zero * scale), float((255 - zero) * scale))
    rounded = _network(task, weights, ranges)
    names = list(task["outputs"])
    distil(
        lambda batch: dict(zip(names, rounded(grey(batch), training=True), strict=True)),
        lambda batch: dict(zip(names, plain(tf.cast(batch, tf.float32) * scale + offset), strict=True)),
        [
            Weight(one, 2 if "depthwise_kernel" in one.name else 3 if "kernel" in one.name else None)
            for one in rounded.trainable_variables
        ],
        np.load(folder / "training.npy", mmap_mode="r"),
        steps=task["steps"],
        rate=task["rate"],
        advance=_print_steps,
    )
    (folder / "body.tflite").write_bytes(_converted(rounded, names))


def _print_steps(number: int) -> None:
    sys.stdout.write("step\n" * number)
    sys.stdout.flush()


def _network(
    task: Mapping[str, Any], weights: Mapping[str, NDArray[np.float32]], ranges: Mapping[str, tuple[float, float]]
) -> Any:
    """Build the network after the pixel scaling, in float or, with `ranges`, rounded as the int8 file will be."""
    image = tf_keras.Input((task["size"], task["size"], 3), name="image")
    given = {"": image}
    if ranges:
        linear = tf_keras.layers.Activation("linear", name="scaled")
        given[""] = _QAT.QuantizeWrapperV2(linear, _Rounded(output=_Range(*ranges[""], pinned=True)))(image)
    for entry in task["layers"]:
        layer = getattr(tf_keras.layers, entry["kind"])(name=entry["name"], **entry["settings"])
        inputs = [given[name] for name in entry["inputs"]]
        if ranges:
            depthwise = entry["kind"] == "DepthwiseConv2D"
            kernel = "depthwise_kernel" if depthwise else "kernel" if entry["kind"] == "Conv2D" else ""
            seen = _Range(*ranges[entry["name"]]) if entry["name"] in ranges else None
            if kernel or seen:
                layer = _QAT.QuantizeWrapperV2(layer, _Rounded(kernel, 2 if depthwise else 3, seen))
        given[entry["name"]] = layer(inputs if entry["kind"] == "Add" else inputs[0])
        if f"{entry['name']}/kernel" in weights:
            for variable in layer.trainable_weights:
                variable.assign(weights[f"{entry['name']}/{'bias' if 'bias' in variable.name else 'kernel'}"])
    return tf_keras.Model(image, [given[name] for name in task["outputs"].values()])


def _ranges(
    plain: Any, task: Mapping[str, Any], images: NDArray[np.uint8], grey: Any
) -> dict[str, tuple[float, float]]:
    """Return the smallest and largest output of each layer of the float network whose output int8 stores."""
    readers: dict[str, list[str]] = {}
    for entry in task["layers"]:
        for name in entry["inputs"]:
            readers.setdefault(name, []).append(entry["kind"])
    kept = [
        entry["name"]
        for entry in task["layers"]
        if entry["kind"] not in ("ZeroPadding2D", "MaxPooling2D")  # their output has the range of their input
        and (len(readers.get(entry["name"], [])) != 1 or readers[entry["name"]][0] not in _FUSED)
    ]
    probe = tf_keras.Model(plain.input, [plain.get_layer(name).output for name in kept])
    found = dict.fromkeys(kept, (0.0, 0.0))
    for start in range(0, len(images), 8):
        for name, values in zip(kept, probe(grey(images[start : start + 8]), training=False), strict=True):
            low, high = found[name]
            found[name] = (min(low, float(tf.reduce_min(values))), max(high, float(tf.reduce_max(values))))
    return found


def _converted(rounded: Any, names: list[str]) -> bytes:
    image = tf.TensorSpec((1, *rounded.input.shape[1:]), tf.float32, name="image")
    function = tf.function(
        lambda image: dict(zip(names, rounded(image, training=False), strict=True)), input_signature=[image]
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], rounded)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.uint8
    return bytes(converter.convert())


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)  # the parent process reports the interruption
