"""EfficientNet-Lite, which `keras.applications` does not have: EfficientNet without squeeze-and-excitation, with ReLU6.

These changes make it quantize well. The stem and the head have the same width in every size, and the first and the last
stage the same depth. Convolutions pad like TensorFlow does ("same"), so images may have any side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras

__all__ = ["SIZES", "efficientnet_lite"]


@dataclass(frozen=True, slots=True)
class _Stage:
    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


SIZES = {  # multipliers of width and depth
    "EfficientNetLite0": (1.0, 1.0),
    "EfficientNetLite1": (1.0, 1.1),
    "EfficientNetLite2": (1.1, 1.2),
    "EfficientNetLite3": (1.2, 1.4),
    "EfficientNetLite4": (1.4, 1.8),
}
_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_STEM, _HEAD = 32, 1280
_DROPPED = 0.2  # share of images that skip the last block in training; less for earlier blocks


def efficientnet_lite(name: str, image: Any) -> Any:
    """Return the last feature map of the untrained network `name` for the preprocessed tensor `image`."""
    width, depth = SIZES[name]
    x = _activated(_normalized(_convolution(_STEM, 3, 2, "stem_conv")(image), "stem_bn"), "stem_activation")
    stages = [
        stage if number in (0, len(_STAGES) - 1) else _deeper(stage, depth) for number, stage in enumerate(_STAGES)
    ]
    total = sum(stage.repeats for stage in stages)
    block = 0
    for stage in stages:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            x = _block(x, stage, _rounded(stage.filters * width), stride, _DROPPED * block / total, f"block{block}_")
            block += 1
    return _activated(_normalized(_convolution(_HEAD, 1, 1, "head_conv")(x), "head_bn"), "head_activation")


def _block(x: Any, stage: _Stage, filters: int, stride: int, dropped: float, name: str) -> Any:
    """Add an inverted bottleneck: expand, filter each channel, project; skip it if input and output are alike."""
    start, inside = x, x.shape[-1] * stage.expansion
    if stage.expansion != 1:
        x = _normalized(_convolution(inside, 1, 1, f"{name}expand_conv")(x), f"{name}expand_bn")
        x = _activated(x, f"{name}expand_activation")
    x = keras.layers.DepthwiseConv2D(
        stage.kernel,
        stride,
        padding="same",
        use_bias=False,
        depthwise_initializer=_initializer(),
        name=f"{name}depthwise_conv",
    )(x)
    x = _activated(_normalized(x, f"{name}depthwise_bn"), f"{name}depthwise_activation")
    x = _normalized(_convolution(filters, 1, 1, f"{name}project_conv")(x), f"{name}project_bn")
    if stride != 1 or start.shape[-1] != filters:
        return x
    if dropped:  # of whole images, not of single values
        x = keras.layers.Dropout(dropped, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(x)
    return keras.layers.Add(name=f"{name}add")([x, start])


def _convolution(filters: int, kernel: int, stride: int, name: str) -> Any:
    return keras.layers.Conv2D(
        filters, kernel, stride, padding="same", use_bias=False, kernel_initializer=_initializer(), name=name
    )


def _initializer() -> Any:
    """By the outputs that a weight reaches, since Keras counts the inputs of a depthwise kernel over all channels."""
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="truncated_normal")


def _normalized(x: Any, name: str) -> Any:
    return keras.layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=name)(x)


def _activated(x: Any, name: str) -> Any:
    return keras.layers.ReLU(6.0, name=name)(x)


def _deeper(stage: _Stage, depth: float) -> _Stage:
    return _Stage(math.ceil(stage.repeats * depth), stage.kernel, stage.stride, stage.expansion, stage.filters)


def _rounded(filters: float) -> int:
    """Round to a multiple of 8, and down by at most 10 %."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded
