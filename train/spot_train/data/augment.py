"""Augment training images: one Keras layer of random changes, which runs inside the compiled training step.

Drawn hairs come first, because they lie on the skin; `sharpness` acts earlier, on the stored images. One affine
resampling follows (flip, rotation, zoom, stretch, shift), without antialiasing because stock clients resize like that.
Then come focus, light, colour and the dark rim of the dermatoscope, and JPEG compression last. The result is rounded to
whole grey levels, as on a device.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from spot_train.recipes.recipe import Augment

__all__ = ["DRAWS", "Blend", "RandomAugmentation", "hair_masks"]

OVERSAMPLING = 3
DRAWS = 32  # random numbers per image; the changes here need 25, and the last one is for `sharpness`


@cache
def hair_masks(number: int, size: int) -> NDArray[np.uint8]:
    """Return `uint8[number,size,size]`: how much a hair covers each pixel. The drawings are always the same."""
    random = np.random.default_rng(20_090)
    return np.stack([_drawing(random, size) for _ in range(number)])


def _drawing(random: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Draw a few bent hairs that mostly grow in one direction."""
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


ASPECT = 4 / 3  # of the images before the stretch to a square
HAIR_MASKS = 48

# JPEG's example tables for quality 50 (ITU-T T.81, annex K).
_LUMA = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
_CHROMA = """17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99"""
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)


class _Stream:
    """Random numbers from a seed generator: different ones in each step."""

    def __init__(self, seed: Any) -> None:
        self._seed = seed

    def uniform(self, count: Any, low: float, high: float, channels: int = 0) -> Any:
        """Return `float32[count]`, or `float32[count,1,1,channels]`."""
        shape = (count, 1, 1, channels) if channels else (count,)
        return keras.random.uniform(shape, low, high, seed=self._seed)

    def change(self, share: float, change: Callable[[Any, Any], Any], images: Any) -> Any:
        """Apply `change` to a share of the batch. The other images cost no time."""
        count = ops.shape(images)[0]
        known = isinstance(count, int)  # in a TensorFlow graph it is a tensor
        number = round(share * count) if known else ops.cast(ops.round(share * ops.cast(count, "float32")), "int32")
        if known and not number:
            return images
        order = ops.argsort(self.uniform(count, 0.0, 1.0))
        if known:
            return _change_first(number, order, lambda some: change(some, self), images)
        least = ops.maximum(number, 1)  # TensorFlow cannot blur an empty batch
        chosen = ops.reshape(ops.arange(least) < number, (-1, 1, 1, 1))
        return _change_first(least, order, lambda some: ops.where(chosen, change(some, self), some), images)


class _Table:
    """Random numbers from the columns of a table with a row per image: the same for an image in every batch."""

    def __init__(self, rows: Any, columns: Iterator[int]) -> None:
        self._rows, self._columns = rows, columns

    def uniform(self, count: Any, low: float, high: float, channels: int = 0) -> Any:
        """Return `float32[count]`, or `float32[count,1,1,channels]`."""
        columns = [self._rows[:, next(self._columns)] for _ in range(channels or 1)]
        drawn = ops.reshape(ops.stack(columns, axis=1), (-1, 1, 1, channels)) if channels else columns[0]
        return low + (high - low) * drawn

    def change(self, share: float, change: Callable[[Any, Any], Any], images: Any) -> Any:
        """Apply `change` to each image with the probability `share`."""
        drawn = self.uniform(None, 0.0, 1.0)
        if keras.backend.backend() == "jax":  # cannot compile a number of images that depends on the draws
            chosen = ops.reshape(drawn < share, (-1, 1, 1, 1))
            return ops.where(chosen, change(images, self), images)
        order = ops.argsort(drawn)
        number = ops.maximum(ops.sum(ops.cast(drawn < share, "int32")), 1)  # TensorFlow cannot blur an empty batch
        chosen = ops.reshape(ops.take(drawn, order)[:number] < share, (-1, 1, 1, 1))
        table = _Table(ops.take(self._rows, order, axis=0)[:number], self._columns)
        return _change_first(number, order, lambda some: ops.where(chosen, change(some, table), some), images)


def _change_first(number: Any, order: Any, change: Callable[[Any], Any], images: Any) -> Any:
    """Apply `change` to the first `number` images in this order."""
    shuffled = ops.take(images, order, axis=0)
    shuffled = ops.concatenate([change(shuffled[:number]), shuffled[number:]], axis=0)
    return ops.take(shuffled, ops.argsort(order), axis=0)


class Blend(keras.layers.Layer):  # type: ignore[misc]
    """Blend each image of a batch with another one (mixup), or show that one in a box (cutmix).

    A row of the second input holds: the number of the other image, the share of this image outside the box, and the
    box's left, right, top and bottom as shares of the side. The other image fills the box.
    """

    def call(self, images: Any, plan: Any) -> Any:
        """Blend a batch of uint8 images."""
        size = images.shape[1]
        other, share, left, right, top, bottom = (ops.reshape(plan[:, n], (-1, 1, 1, 1)) for n in range(6))
        middles = (np.arange(size, dtype=np.float32) + 0.5) / size
        x, y = (ops.convert_to_tensor(middles.reshape(shape)) for shape in ((1, 1, size, 1), (1, size, 1, 1)))
        inside = ops.logical_and(ops.logical_and(left < x, x < right), ops.logical_and(top < y, y < bottom))
        share = ops.where(inside, 0.0, share)
        floats = ops.cast(images, "float32")
        others = ops.take(floats, ops.cast(ops.reshape(other, (-1,)), "int32"), axis=0)
        return ops.cast(ops.round(floats * share + others * (1 - share)), "uint8")

    def compute_output_shape(self, images_shape: tuple[int | None, ...], plan_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of `call`'s result."""
        return images_shape


class RandomAugmentation(keras.layers.Layer):  # type: ignore[misc]
    """Map uint8[B,C,C,3] at the stored size to uint8[B,S,S,3], with different random changes for each image.

    The changes come from a stream that `reseed` restarts, or from a second input `float32[B,DRAWS]` of numbers from 0
    to 1. The same row of numbers gives an image the same changes, in any batch and at any size of crops.
    """

    def __init__(self, recipe: Augment, size: int, seed: int = 0) -> None:
        super().__init__(name="augment", dtype="float32", trainable=False)
        self._recipe = recipe
        self._size = size
        self._seed = keras.random.SeedGenerator(seed)

    def reseed(self, seed: Sequence[int]) -> None:
        """Restart the stream of random changes at `seed`."""
        start = np.random.SeedSequence(seed).generate_state(2, np.uint32)
        self._seed.state.assign(ops.convert_to_tensor(start, dtype=self._seed.state.dtype))

    def call(self, images: Any, draws: Any = None) -> Any:
        """Augment a batch."""
        recipe = self._recipe
        random: Any = _Stream(self._seed) if draws is None else _Table(draws, itertools.count())

        def change(share: float, change: Callable[[Any, Any], Any], images: Any) -> Any:
            return random.change(share, change, images) if share else images

        images = change(recipe.hairs, self._add_hairs, ops.cast(images, "float32"))
        images = self._resample(images, random)
        images = change(recipe.blur, lambda some, _: _blur(some), images)
        images = self._change_light(images, random)
        images = ops.clip(change(recipe.corners, self._add_rim, images), 0, 255)
        images = change(recipe.jpeg, self._compress, images)
        return ops.cast(ops.clip(ops.round(images), 0, 255), "uint8")

    def compute_output_shape(
        self, images_shape: tuple[int | None, ...], draws_shape: Any = None
    ) -> tuple[int | None, ...]:
        """Return the shape of `call`'s result."""
        return (images_shape[0], self._size, self._size, 3)

    def _sign(self, count: Any, random: Any) -> Any:
        return ops.sign(random.uniform(count, -1.0, 1.0) + 1e-6) if self._recipe.flip else ops.ones((count,))

    def _add_hairs(self, images: Any, random: Any) -> Any:
        """Add dark hairs from a fixed set of drawings. The resampling later rotates them with the image."""
        count = ops.shape(images)[0]
        masks = ops.convert_to_tensor(hair_masks(HAIR_MASKS, images.shape[1]))
        which = ops.cast(ops.floor(random.uniform(count, 0.0, HAIR_MASKS - 1e-3)), "int32")
        cover = ops.cast(ops.take(masks, which, axis=0), "float32")[..., None] / 255
        cover = cover * ops.reshape(random.uniform(count, 0.4, 1.0), (-1, 1, 1, 1))
        lightness = ops.reshape(random.uniform(count, 15.0, 60.0), (-1, 1, 1, 1))
        colour = lightness * ops.convert_to_tensor(np.array([1.2, 1.0, 0.85], np.float32))
        return images * (1 - cover) + colour * cover

    def _resample(self, images: Any, random: Any) -> Any:
        recipe, count, stored, size = self._recipe, ops.shape(images)[0], images.shape[1], self._size
        angle = random.uniform(count, -1.0, 1.0) * (recipe.rotate * math.pi / 180)
        zoom = random.uniform(count, *recipe.zoom)
        stretch = ops.exp(random.uniform(count, -1.0, 1.0) * recipe.stretch / 2)
        # Rotate in the image's own aspect ratio, not in the stretched square.
        cos, sin = ops.cos(angle), ops.sin(angle)
        across, down = zoom * stretch * self._sign(count, random), zoom / stretch * self._sign(count, random)
        xx, xy = cos * across, -sin / ASPECT * down
        yx, yy = sin * ASPECT * across, cos * down
        shift_x, shift_y = (random.uniform(count, -1.0, 1.0) * recipe.shift for _ in range(2))
        # The centre of output pixel i is at (i + .5) / size - .5 of the image, that of input pixel j at
        # (j + .5) / stored - .5.
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

    def _change_light(self, images: Any, random: Any) -> Any:
        """Change brightness, illuminant, contrast and saturation: together one matrix and one offset per image."""
        recipe, count, size = self._recipe, ops.shape(images)[0], images.shape[1]

        def change(strength: float, channels: int = 1) -> Any:
            return ops.exp(random.uniform(count, -strength, strength, channels))

        gain = change(recipe.brightness) * change(recipe.illuminant, 3)
        contrast, saturation = change(recipe.contrast), ops.reshape(change(recipe.saturation), (-1, 1, 1))
        mean = ops.mean(ops.mean(images, axis=(1, 2), keepdims=True) * gain, axis=3, keepdims=True)
        own = ops.convert_to_tensor(np.eye(3, dtype=np.float32))
        colors = saturation * own + (1 - saturation) / 3  # the rest of each channel is grey
        matrix = ops.reshape(gain * contrast, (-1, 3, 1)) * colors
        changed = ops.matmul(ops.reshape(images, (-1, size * size, 3)), matrix)
        return ops.reshape(changed, (-1, size, size, 3)) + mean * (1 - contrast)

    def _add_rim(self, images: Any, random: Any) -> Any:
        """Darken everything outside a soft-edged circle around a point near the centre."""
        count = ops.shape(images)[0]
        line = np.linspace(-1, 1, self._size, dtype=np.float32)
        middle_x, middle_y = (ops.reshape(random.uniform(count, -0.15, 0.15), (-1, 1, 1, 1)) for _ in range(2))
        radius = ops.reshape(random.uniform(count, 0.9, 1.25), (-1, 1, 1, 1))
        softness = ops.reshape(random.uniform(count, 0.01, 0.12), (-1, 1, 1, 1))
        x = ops.convert_to_tensor(line.reshape(1, 1, -1, 1)) - middle_x
        y = ops.convert_to_tensor(line.reshape(1, -1, 1, 1)) - middle_y
        return images * ops.sigmoid((radius - ops.sqrt(x * x + y * y + 1e-6)) / softness)

    def _compress(self, images: Any, random: Any) -> Any:
        """Imitate JPEG: round the cosine coefficients of 8x8 blocks to the steps of a random quality."""
        count, blocks = ops.shape(images)[0], -(-self._size // 8)
        side = blocks * 8
        if side != self._size:  # fill the last blocks by repeating the last row and column, as encoders do
            beyond = np.minimum(np.arange(side), self._size - 1)
            images = ops.take(ops.take(images, beyond, axis=1), beyond, axis=2)
        quality = random.uniform(count, 40.0, 95.0)
        scale = ops.where(quality < 50, 50.0 / quality, 2.0 - quality / 50)
        tables = ops.convert_to_tensor(_tables())  # 8,8,3
        steps = ops.maximum(1.0, ops.round(tables[None] * ops.reshape(scale, (-1, 1, 1, 1))))
        basis = ops.convert_to_tensor(_cosines())
        offset = np.array([128.0, 0.0, 0.0], np.float32)
        ycc = ops.matmul(images, _TO_YCC.T) - offset
        cells = ops.reshape(ycc, (count, blocks, 8, blocks, 8, 3))
        waves = ops.einsum("uy,nhywxc,vx->nhuwvc", basis, cells, basis)
        steps = ops.reshape(steps, (count, 1, 8, 1, 8, 3))
        waves = ops.round(waves / steps) * steps
        cells = ops.einsum("uy,nhuwvc,vx->nhywxc", basis, waves, basis)
        ycc = ops.reshape(cells, (count, side, side, 3)) + offset
        ycc = ycc[:, : self._size, : self._size, :]
        return ops.matmul(ycc, np.linalg.inv(_TO_YCC).T.astype(np.float32))


def _blur(images: Any) -> Any:
    """Blur with a 5-tap binomial filter in both directions, like a lens slightly out of focus."""
    taps = np.array([1, 4, 6, 4, 1], np.float32) / 16
    kernel = np.zeros((5, 5, 3, 1), np.float32) + np.outer(taps, taps)[:, :, None, None]
    mirrored = np.pad(np.arange(images.shape[1]), 2, mode="reflect")  # ops.pad fails on an empty batch
    padded = ops.take(ops.take(images, mirrored, axis=1), mirrored, axis=2)
    return ops.depthwise_conv(padded, ops.convert_to_tensor(kernel), padding="valid", data_format="channels_last")


def _tables() -> NDArray[np.float32]:
    luma, chroma = (np.array([int(n) for n in table.split()], np.float32).reshape(8, 8) for table in (_LUMA, _CHROMA))
    return np.stack([luma, chroma, chroma], axis=2)


def _cosines() -> NDArray[np.float32]:
    """Return the orthonormal cosine transform of eight values."""
    k, x = np.mgrid[0:8, 0:8]
    basis = np.cos((2 * x + 1) * k * np.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    return np.asarray(basis, np.float32)
