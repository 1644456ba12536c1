"""Random changes to training pictures, as one Keras layer that runs inside the compiled training step.

One affine resampling (flip, rotation, zoom, stretch, shift) without antialiasing, as stock clients resize, then light
and colour. The result is rounded to whole grey levels, because that is what a device feeds the network.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from spot_train.recipe import Augment

__all__ = ["RandomPicture"]

ASPECT = 4 / 3  # of the pictures before they were stretched to a square


class RandomPicture(keras.layers.Layer):  # type: ignore[misc]
    """uint8[B,C,C,3] at the stored size to uint8[B,S,S,3], each picture changed in its own way."""

    def __init__(self, recipe: Augment, size: int, seed: int) -> None:
        super().__init__(name="augment", dtype="float32", trainable=False)
        self._recipe = recipe
        self._size = size
        self._seed = keras.random.SeedGenerator(seed)

    def call(self, images: Any) -> Any:
        """Change a batch."""
        pictures = self._resample(ops.cast(images, "float32"))
        return ops.cast(ops.clip(ops.round(self._light(pictures)), 0, 255), "uint8")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape that `call` gives."""
        return (input_shape[0], self._size, self._size, 3)

    def _uniform(self, count: Any, low: float, high: float) -> Any:
        return keras.random.uniform((count,), low, high, seed=self._seed)

    def _sign(self, count: Any) -> Any:
        return ops.sign(self._uniform(count, -1.0, 1.0) + 1e-6) if self._recipe.flip else ops.ones((count,))

    def _resample(self, images: Any) -> Any:
        recipe, count, stored, size = self._recipe, ops.shape(images)[0], images.shape[1], self._size
        angle = self._uniform(count, -1.0, 1.0) * (recipe.rotate * math.pi / 180)
        zoom = self._uniform(count, *recipe.zoom)
        stretch = ops.exp(self._uniform(count, -1.0, 1.0) * recipe.stretch / 2)
        # Rotation is done in the picture's own proportions, not in the stretched square.
        cos, sin = ops.cos(angle), ops.sin(angle)
        across, down = zoom * stretch * self._sign(count), zoom / stretch * self._sign(count)
        xx, xy = cos * across, -sin / ASPECT * down
        yx, yy = sin * ASPECT * across, cos * down
        shift_x, shift_y = (self._uniform(count, -1.0, 1.0) * recipe.shift for _ in range(2))
        # Output pixel i lies at (i + .5) / size - .5 of the picture; input pixel j likewise with the stored side.
        ratio, first = stored / size, 0.5 / size - 0.5
        zero = ops.zeros_like(xx)
        transform = ops.stack(
            [
                xx * ratio,
                xy * ratio,
                stored * ((xx + xy) * first + shift_x + 0.5) - 0.5,
                yx * ratio,
                yy * ratio,
                stored * ((yx + yy) * first + shift_y + 0.5) - 0.5,
                zero,
                zero,
            ],
            axis=1,
        )
        resampled = ops.image.affine_transform(
            images, transform, interpolation="bilinear", fill_mode="reflect", data_format="channels_last"
        )
        return resampled[:, :size, :size, :]

    def _light(self, pictures: Any) -> Any:
        recipe, count = self._recipe, ops.shape(pictures)[0]

        def change(strength: float, channels: int = 1) -> Any:
            draws = keras.random.uniform((count, 1, 1, channels), -strength, strength, seed=self._seed)
            return ops.exp(draws)

        pictures = pictures * change(recipe.brightness) * change(recipe.illuminant, 3)
        mean = ops.mean(pictures, axis=(1, 2, 3), keepdims=True)
        pictures = mean + (pictures - mean) * change(recipe.contrast)
        grey = ops.mean(pictures, axis=3, keepdims=True)
        return grey + (pictures - grey) * change(recipe.saturation)
