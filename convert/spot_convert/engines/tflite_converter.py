"""Convert with TensorFlow's own converter: the body in float32, float16, dynamic-range int8 and full int8."""

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
from spot_edge.errors import CheckError, first_line

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
    """Convert the network in float32, with a uint8 input that is scaled inside the graph."""
    return _convert(_whole_network(run))


def _float16_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """Store the weights as float16. The network computes in float32."""
    converter = _whole_network(run)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return _convert(converter)


def _dynamic_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """Store the weights as int8. Activations are float and quantized at run time, image by image."""
    converter = _whole_network(run)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return _convert(converter)


def _int8_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """Quantize everything to int8, weights per channel, with a uint8 input and float outputs.

    The pixel scaling becomes the quantization of the input tensor, because operators would cost resolution. Its zero
    point is rounded to a whole number (128), half a grey level from the true offset. Biases are corrected beforehand
    for the rounding of the weights.
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
    """Convert the network after the pixel scaling in float32, corrected for the later rounding of its weights."""
    return _convert(_after_scaling(run, corrected_body(run.body, calibration)))


def scaled_body(run: Run) -> bytes:
    """Convert the network after the pixel scaling in float32, as trained."""
    return _convert(_after_scaling(run, run.body))


def corrected_whole_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """Convert the network in float32 with a uint8 input, corrected for the later rounding of its weights."""
    return _convert(_whole_network(run, corrected_body(run.body, calibration)))


def calibration_inputs(run: Run, calibration: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    """Yield the calibration images as the network sees them after the pixel scaling, float32[1,S,S,3] each."""
    zero = input_zero(run)
    for image in calibration:
        tensor = (image[np.newaxis].astype(np.float32) - zero) * np.float32(run.pixel_scale)
        # Two pixels hold the darkest and brightest grey level, so that the input's range covers all of them.
        tensor[0, 0, 0], tensor[0, 0, 1] = -zero * run.pixel_scale, (255 - zero) * run.pixel_scale
        yield tensor


def input_zero(run: Run) -> int:
    """Return the zero point of the input: the whole grey level nearest to the zero of the pixel scaling."""
    return math.floor(-run.pixel_offset / run.pixel_scale + 0.5)  # 127.5 → 128


def _whole_network(run: Run, body: Any = None) -> Any:
    image = keras.Input(batch_shape=(1, run.image.size, run.image.size, 3), dtype="uint8", name="image")
    return _converter(keras.Model(image, (body or run.body)(image), name="float_body"))


def _after_scaling(run: Run, body: Any) -> Any:
    scaled = keras.Input(batch_shape=(1, run.image.size, run.image.size, 3), name="image")
    # Keras numbers unnamed models, and names go into the file. A fixed name keeps the bytes the same.
    after_scaling = keras.Model(body.layers[1].output, body.output, name="after_scaling")
    return _converter(keras.Model(scaled, after_scaling(scaled), name="int8_body"))


def _converter(network: Any) -> Any:
    """Return TensorFlow's converter for `network`, traced once.

    TFLiteConverter.from_keras_model exports first and takes three times as long for the same network.
    """
    image = tf.TensorSpec(network.inputs[0].shape, network.inputs[0].dtype, name="image")
    function = tf.function(lambda image: network(image, training=False), input_signature=[image])
    holder = tf.Module()
    # The converter finds only variables that its module refers to.
    holder.variables_of_network = [variable.value for variable in network.variables]
    return tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], holder)


def _convert(converter: Any) -> bytes:
    """Run a converter, and show its hundreds of lines of log only if it fails."""
    with tempfile.TemporaryFile() as log:
        try:
            with _redirected_streams(log):
                return bytes(converter.convert())
        except Exception as error:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace"))
            raise CheckError(f"the TensorFlow converter failed: {first_line(error)}") from error


@contextlib.contextmanager
def _redirected_streams(file: Any) -> Iterator[None]:
    """Redirect stdout and stderr of this process, C++ included, to `file`."""
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
