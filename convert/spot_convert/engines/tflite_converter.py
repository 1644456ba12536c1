"""TensorFlow's own converter: the body of a network in float32, float16, dynamic-range int8 and full int8."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from spot_convert.quantize.ranges import corrected_body
from spot_convert.run import Run
from spot_edge.errors import CheckError

__all__ = [
    "BODIES",
    "calibration_inputs",
    "corrected_float_body",
    "corrected_whole_body",
    "float_body",
    "input_zero",
    "scaled_body",
]


def float_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """The network in float32; its input takes uint8 and is scaled inside the graph."""
    return _convert(_whole_network(run))


def _float16_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """The network with its weights as float16; it computes in float32."""
    converter = _whole_network(run)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return _convert(converter)


def _dynamic_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """The network with its weights as int8 and float activations, which are quantized picture by picture."""
    converter = _whole_network(run)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return _convert(converter)


def _int8_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """The network in full int8 with per-channel weights; its input takes uint8, its outputs are dequantized.

    The pixel scaling is not left as operators, which would cost resolution: it becomes the quantization of the input
    tensor. Its zero point is made a whole number (128), half a grey level from the true offset. The weights' rounding
    is corrected in the mean before it happens.
    """
    converter = _after_scaling(run, corrected_body(run.body, calibration))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([tensor] for tensor in calibration_inputs(run, calibration))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    return _convert(converter)


BODIES: dict[str, Callable[[Run, NDArray[np.uint8]], bytes]] = {
    "float32": float_body,
    "float16": _float16_body,
    "dynamic": _dynamic_body,
    "int8": _int8_body,
}


def corrected_float_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """The network behind the pixel scaling in float32, corrected for the rounding of its weights that is to come."""
    return _convert(_after_scaling(run, corrected_body(run.body, calibration)))


def scaled_body(run: Run) -> bytes:
    """The network behind the pixel scaling in float32, as trained."""
    return _convert(_after_scaling(run, run.body))


def corrected_whole_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """The network in float32 with uint8 input, corrected for the rounding of its weights that is to come."""
    return _convert(_whole_network(run, corrected_body(run.body, calibration)))


def calibration_inputs(run: Run, calibration: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    """What the network behind the pixel scaling sees of the calibration pictures, float32[1,S,S,3] each."""
    zero = input_zero(run)
    for picture in calibration:
        tensor = (picture[np.newaxis].astype(np.float32) - zero) * np.float32(run.pixel_scale)
        # The input's range is that of all grey levels, whether or not this picture holds them.
        tensor[0, 0, 0], tensor[0, 0, 1] = -zero * run.pixel_scale, (255 - zero) * run.pixel_scale
        yield tensor


def input_zero(run: Run) -> int:
    """The grey level that the int8 input calls zero: the nearest whole one to where the pixel scaling has it."""
    return math.floor(-run.pixel_offset / run.pixel_scale + 0.5)  # 127.5 → 128


def _whole_network(run: Run, body: Any = None) -> Any:
    image = keras.Input(batch_shape=(1, run.image.size, run.image.size, 3), dtype="uint8", name="image")
    return _converter(keras.Model(image, (body or run.body)(image), name="float_body"))


def _after_scaling(run: Run, body: Any) -> Any:
    scaled = keras.Input(batch_shape=(1, run.image.size, run.image.size, 3), name="image")
    # Named, because Keras numbers unnamed models, and the names go into the file: the same run gives the same bytes.
    after_scaling = keras.Model(body.layers[1].output, body.output, name="after_scaling")
    return _converter(keras.Model(scaled, after_scaling(scaled), name="int8_body"))


def _converter(network: Any) -> Any:
    """TensorFlow's converter over `network`, traced once. Its own way from Keras exports first: three times as long.

    The file is the same but for the note in it that says which way was taken.
    """
    image = tf.TensorSpec(network.inputs[0].shape, network.inputs[0].dtype, name="image")
    function = tf.function(lambda image: network(image, training=False), input_signature=[image])
    holder = tf.Module()
    holder.variables_of_network = [variable.value for variable in network.variables]  # else they are not found
    return tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], holder)


def _convert(converter: Any) -> bytes:
    """Run a converter without its hundreds of lines of log; they are shown where it fails."""
    with tempfile.TemporaryFile() as log:
        try:
            with _both_streams_into(log):
                return bytes(converter.convert())
        except Exception as error:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace"))
            raise CheckError(f"the TensorFlow converter failed: {str(error).splitlines()[0]}") from error


@contextlib.contextmanager
def _both_streams_into(file: Any) -> Iterator[None]:
    """stdout and stderr of this process, C++ included, into `file`."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    try:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        yield
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        for target, saved in zip((1, 2), kept, strict=True):
            os.dup2(saved, target)
            os.close(saved)
