"""EfficientNet-Lite can be converted: to float32 exactly, to int8, and folded for fine-tuning."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from spot_bench.data.drawn import draw_lesion
from spot_bench.data.manifest import Manifest
from spot_bench.drift.gate import Margins
from spot_convert.engines.folding import fold
from spot_convert.engines.litert_quantizer import _calibrated
from spot_convert.engines.tflite_converter import float_body
from spot_convert.quantize.layers import Plan, quantized
from spot_convert.quantize.mixing import logits
from spot_convert.run import Run
from spot_edge.image.tensor import to_tensor
from spot_edge.model.spec import ImageSpec, Label
from spot_train.network.network import build_body
from spot_train.recipes.recipe import Network

pytestmark = pytest.mark.long


def test_int8_follows_float32_and_every_layer_folds() -> None:
    keras.utils.set_random_seed(1)
    body = build_body(Network(backbone="efficientnet_lite0", size=64), 3)
    images = np.concatenate([to_tensor(draw_lesion(seed), ImageSpec(64))[0] for seed in range(24)])
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    body(images, training=True)  # sets the statistics as training would: without, all images look alike in the end
    scale = body.layers[1]
    labels = tuple(Label(name, name, False) for name in "abc")
    manifest = Manifest((), Path())
    run = Run("lite", body, scale.scale, scale.offset, labels, ImageSpec(64), manifest, Margins(), {})
    wanted = np.asarray(body(images, training=False)["evidence"]).mean(axis=(1, 2))
    single = [image[np.newaxis] for image in images]
    np.testing.assert_allclose(logits(float_body(run, images), single), wanted, atol=1e-4)
    scaled, ranges, inputs = _calibrated(run, images)
    found = logits(quantized(scaled, ranges, Plan()), inputs)
    one, two = (values - values.mean(axis=0) for values in (found, wanted))
    assert (one * two).sum() / np.sqrt((one**2).sum() * (two**2).sum()) > 0.45  # random weights amplify rounding
    kinds = [layer["kind"] for layer in fold(body).layers]
    assert kinds.count("DepthwiseConv2D") == 16
    assert kinds.count("Conv2D") == 34
