"""Drawings of hairs, to be laid over training pictures.

Random changes to training pictures, as one Keras layer that runs inside the compiled training step.

Hairs first, because they lie on the skin; then one affine resampling (flip, rotation, zoom, stretch, shift) without
antialiasing, as stock clients resize; then focus, light, colour and the dark rim of the instrument, and compression
last. The result is rounded to whole grey levels, because that is what a device feeds the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from spot_train.recipes.recipe import Augment

__all__ = ["RandomPicture", "hair_masks"]

OVERSAMPLING = 3


@cache
def hair_masks(number: int, size: int) -> NDArray[np.uint8]:
    """`uint8[number,size,size]`: how much a hair covers each pixel. The same drawings every time."""
    random = np.random.default_rng(20_090)
    return np.stack([_drawing(random, size) for _ in range(number)])


def _drawing(random: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """A few bent hairs, mostly growing one way."""
    side = size * OVERSAMPLING
    canvas = Image.new("L", (side, side))
    draw = ImageDraw.Draw(canvas)
    direction = random.uniform(0, 2 * np.pi)
    for _ in range(random.integers(2, 15)):
        angle = direction + random.normal(0, 0.5)
        length = random.uniform(0.15, 0.9) * side
        start = random.uniform(-0.1, 1.1, 2) * side
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        t = np.linspace(0, 1, 24)[:, None]
        points = start + along * length * t + across * length * random.normal(0, 0.15) * t * (1 - t) * 4
        width = max(1, round(random.uniform(0.003, 0.009) * side))
        draw.line([tuple(point) for point in points.tolist()], fill=255, width=width, joint="curve")
    return np.asarray(canvas.resize((size, size), Image.Resampling.BOX))


ASPECT = 4 / 3  # of the pictures before they were stretched to a square
HAIR_MASKS = 48

# JPEG's example tables for quality 50 (ITU-T T.81, annex K).
_LUMA = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
_CHROMA = """17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99"""
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)


class RandomPicture(keras.layers.Layer):  # type: ignore[misc]
    """uint8[B,C,C,3] at the stored size to uint8[B,S,S,3], each picture changed in its own way."""

    def __init__(self, recipe: Augment, size: int, seed: int = 0) -> None:
        super().__init__(name="augment", dtype="float32", trainable=False)
        self._recipe = recipe
        self._size = size
        self._seed = keras.random.SeedGenerator(seed)

    def reseed(self, seed: Sequence[int]) -> None:
        """Go on from another place in the stream of random changes."""
        start = np.random.SeedSequence(seed).generate_state(2, np.uint32)
        self._seed.state.assign(ops.convert_to_tensor(start, dtype=self._seed.state.dtype))

    def call(self, images: Any) -> Any:
        """Change a batch."""
        recipe = self._recipe
        pictures = self._some(recipe.hairs, self._hairs, ops.cast(images, "float32"))
        pictures = self._resample(pictures)
        pictures = self._some(recipe.blur, _blurred, pictures)
        pictures = self._light(pictures)
        pictures = ops.clip(self._some(recipe.corners, self._rim, pictures), 0, 255)
        pictures = self._some(recipe.jpeg, self._compressed, pictures)
        return ops.cast(ops.clip(ops.round(pictures), 0, 255), "uint8")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape that `call` gives."""
        return (input_shape[0], self._size, self._size, 3)

    def _uniform(self, count: Any, low: float, high: float) -> Any:
        return keras.random.uniform((count,), low, high, seed=self._seed)

    def _sign(self, count: Any) -> Any:
        return ops.sign(self._uniform(count, -1.0, 1.0) + 1e-6) if self._recipe.flip else ops.ones((count,))

    def _some(self, share: float, change: Callable[[Any], Any], pictures: Any) -> Any:
        """`pictures` with a randomly chosen share of the batch changed; the others cost nothing."""
        if not share:
            return pictures
        count = ops.shape(pictures)[0]
        known = isinstance(count, int)  # not so in a TensorFlow graph
        number = round(share * count) if known else ops.cast(ops.round(share * ops.cast(count, "float32")), "int32")
        if known and not number:
            return pictures
        order = ops.argsort(self._uniform(count, 0.0, 1.0))
        shuffled = ops.take(pictures, order, axis=0)
        shuffled = ops.concatenate([change(shuffled[:number]), shuffled[number:]], axis=0)
        return ops.take(shuffled, ops.argsort(order), axis=0)

    def _hairs(self, pictures: Any) -> Any:
        """Dark hairs from a fixed set of drawings, turned a random way with the picture itself later on."""
        count = ops.shape(pictures)[0]
        masks = ops.convert_to_tensor(hair_masks(HAIR_MASKS, pictures.shape[1]))
        which = ops.cast(ops.floor(self._uniform(count, 0.0, HAIR_MASKS - 1e-3)), "int32")
        cover = ops.cast(ops.take(masks, which, axis=0), "float32")[..., None] / 255
        cover = cover * ops.reshape(self._uniform(count, 0.4, 1.0), (-1, 1, 1, 1))
        lightness = ops.reshape(self._uniform(count, 15.0, 60.0), (-1, 1, 1, 1))
        colour = lightness * ops.convert_to_tensor(np.array([1.2, 1.0, 0.85], np.float32))
        return pictures * (1 - cover) + colour * cover

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

    def _rim(self, pictures: Any) -> Any:
        """Dark outside a circle around a place near the middle; its edge is soft."""
        count = ops.shape(pictures)[0]
        line = np.linspace(-1, 1, self._size, dtype=np.float32)
        middle_x, middle_y = (ops.reshape(self._uniform(count, -0.15, 0.15), (-1, 1, 1, 1)) for _ in range(2))
        radius = ops.reshape(self._uniform(count, 0.9, 1.25), (-1, 1, 1, 1))
        softness = ops.reshape(self._uniform(count, 0.01, 0.12), (-1, 1, 1, 1))
        x = ops.convert_to_tensor(line.reshape(1, 1, -1, 1)) - middle_x
        y = ops.convert_to_tensor(line.reshape(1, -1, 1, 1)) - middle_y
        return pictures * ops.sigmoid((radius - ops.sqrt(x * x + y * y + 1e-6)) / softness)

    def _compressed(self, pictures: Any) -> Any:
        """As JPEG leaves it: the cosine coefficients of 8x8 blocks rounded to the steps of a random quality."""
        count, blocks = ops.shape(pictures)[0], -(-self._size // 8)
        side = blocks * 8
        if side != self._size:  # whole blocks, the last row and column repeated, as encoders do
            beyond = np.minimum(np.arange(side), self._size - 1)
            pictures = ops.take(ops.take(pictures, beyond, axis=1), beyond, axis=2)
        quality = self._uniform(count, 40.0, 95.0)
        scale = ops.where(quality < 50, 50.0 / quality, 2.0 - quality / 50)
        tables = ops.convert_to_tensor(_tables())  # 8,8,3
        steps = ops.maximum(1.0, ops.round(tables[None] * ops.reshape(scale, (-1, 1, 1, 1))))
        basis = ops.convert_to_tensor(_cosines())
        offset = np.array([128.0, 0.0, 0.0], np.float32)
        ycc = ops.matmul(pictures, _TO_YCC.T) - offset
        cells = ops.reshape(ycc, (count, blocks, 8, blocks, 8, 3))
        waves = ops.einsum("uy,nhywxc,vx->nhuwvc", basis, cells, basis)
        steps = ops.reshape(steps, (count, 1, 8, 1, 8, 3))
        waves = ops.round(waves / steps) * steps
        cells = ops.einsum("uy,nhuwvc,vx->nhywxc", basis, waves, basis)
        ycc = ops.reshape(cells, (count, side, side, 3)) + offset
        ycc = ycc[:, : self._size, : self._size, :]
        return ops.matmul(ycc, np.linalg.inv(_TO_YCC).T.astype(np.float32))


def _blurred(pictures: Any) -> Any:
    """A 5-tap binomial blur each way: a lens slightly out of focus."""
    taps = np.array([1, 4, 6, 4, 1], np.float32) / 16
    kernel = np.zeros((5, 5, 3, 1), np.float32) + np.outer(taps, taps)[:, :, None, None]
    mirrored = np.pad(np.arange(pictures.shape[1]), 2, mode="reflect")  # ops.pad fails where no picture is chosen
    padded = ops.take(ops.take(pictures, mirrored, axis=1), mirrored, axis=2)
    return ops.depthwise_conv(padded, ops.convert_to_tensor(kernel), padding="valid", data_format="channels_last")


def _tables() -> NDArray[np.float32]:
    luma, chroma = (np.array([int(n) for n in table.split()], np.float32).reshape(8, 8) for table in (_LUMA, _CHROMA))
    return np.stack([luma, chroma, chroma], axis=2)


def _cosines() -> NDArray[np.float32]:
    """The orthonormal cosine transform of eight values."""
    k, x = np.mgrid[0:8, 0:8]
    basis = np.cos((2 * x + 1) * k * np.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    return np.asarray(basis, np.float32)
