"""TensorFlow's own converter: the float32 and the full-integer body of a network, as flatbuffers."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from spot_convert.correction import corrected_body
from spot_convert.run import Run
from spot_edge.errors import CheckError

__all__ = ["float_body", "input_zero", "int8_body"]


def float_body(run: Run) -> bytes:
    """The network in float32; its input takes uint8 and is scaled inside the graph."""
    image = keras.Input(batch_shape=(1, run.image.size, run.image.size, 3), dtype="uint8", name="image")
    return _convert(tf.lite.TFLiteConverter.from_keras_model(keras.Model(image, run.body(image), name="float_body")))


def int8_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """The network in full int8 with per-channel weights; its input takes uint8, its outputs are dequantized.

    The pixel scaling is not left as operators, which would cost resolution: it becomes the quantization of the input
    tensor. Its zero point is made a whole number (128), half a grey level from the true offset. The weights' rounding
    is corrected in the mean before it happens.
    """
    size, body = run.image.size, corrected_body(run.body, calibration)
    scaled = keras.Input(batch_shape=(1, size, size, 3), name="image")
    # Named, because Keras numbers unnamed models, and the names go into the file: the same run gives the same bytes.
    after_scaling = keras.Model(body.layers[1].output, body.output, name="after_scaling")
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(scaled, after_scaling(scaled), name="int8_body"))
    zero = input_zero(run)

    def pictures() -> Iterator[list[NDArray[np.float32]]]:
        for picture in calibration:
            tensor = (picture[np.newaxis].astype(np.float32) - zero) * np.float32(run.pixel_scale)
            # The input's range is that of all grey levels, whether or not this picture holds them.
            tensor[0, 0, 0], tensor[0, 0, 1] = -zero * run.pixel_scale, (255 - zero) * run.pixel_scale
            yield [tensor]

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = pictures
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    return _convert(converter)


def input_zero(run: Run) -> int:
    """The grey level that the int8 input calls zero: the nearest whole one to where the pixel scaling has it."""
    return math.floor(-run.pixel_offset / run.pixel_scale + 0.5)  # 127.5 → 128


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
