"""The common mistakes of apps: wrong image preparation, and wrong reading of correct outputs.

Each way to prepare an image makes the tensor that an app with that mistake feeds. Mistakes are combined with our own
resizing and with two kinds of stock resizing. Each misreading predicts what an app with that mistake reports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spot_convert.kit.vectors import CORNERS, RIGHT, STOCK, KnownWay
from spot_edge.image.tensor import to_tensor
from spot_edge.model.spec import ImageSpec

__all__ = ["Misreading", "Way", "all_ways", "misreadings"]

Pixels: TypeAlias = NDArray[np.uint8]

_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # ImageNet's
_RESIZE_ADVICE = "crop to the central 4:3 unless width to height is 1.2 to 1.5, then resize with antialiasing"
_STOCK_ADVICE = '; or, if your framework resizes by itself, add "resize": "stock" to the results'


@dataclass(frozen=True, slots=True)
class Way:
    """One way to make the input tensor: `prepare` makes uint8[S,S,3] of an upright RGB image."""

    key: str
    mistake: str  # the same for a mistake after any resizing
    resize: str
    what: str  # in words, such as "the image is mirrored"
    fix: str
    inputs: bool  # whether it can happen to an image that has the input's size already
    prepare: Callable[[Image.Image], Pixels]


def all_ways(spec: ImageSpec) -> list[Way]:
    """Return the correct way, then those of stock clients, then every mistake."""
    right = Way(RIGHT, RIGHT, RIGHT, "as the model file says", "", True, lambda image: to_tensor(image, spec)[0][0])
    resizes = list(_resizes(spec))
    ways = [right, *resizes]
    for base in (right, *(way for way in resizes if way.resize == STOCK)):
        ending = "" if base is right else f"+{base.key}"
        for key, (what, fix, change) in _TENSORS.items():
            ways.append(Way(key + ending, key, base.resize, what, fix, base is right, _then(base.prepare, change)))
        what, fix = "width and height are swapped: rows of the wrong length are read", "pass width and height in order"
        ways.append(
            Way(f"strides{ending}", "strides", base.resize, what, fix, False, _after(_swap_strides, base.prepare))
        )
    what = "the image is prepared twice: it is cropped and resized again after it was resized"
    again = _after(lambda image: Image.fromarray(right.prepare(image)), right.prepare)
    ways.append(Way("again", "again", RIGHT, what, "feed the images in inputs/ unchanged", True, again))
    return ways


def _resizes(spec: ImageSpec) -> Iterator[Way]:
    """Yield every geometry with its filters, those of stock clients first."""
    for geometry, (shape_words, reshape, filters) in _GEOMETRIES.items():
        for filter_ in filters:
            filter_words, resize = _FILTERS[filter_]
            what = "the image is " + " and ".join(words for words in (shape_words, filter_words) if words)
            key = {"whole-plain": STOCK, "whole-corners": CORNERS}.get(f"{geometry}-{filter_}", f"{geometry}-{filter_}")
            kind = STOCK if key == CORNERS else key
            fix = _RESIZE_ADVICE + (_STOCK_ADVICE if kind == STOCK else "")
            yield Way(key, kind, kind, what, fix, False, _resizing(spec, reshape, resize))


def _resizing(
    spec: ImageSpec,
    reshape: Callable[[Image.Image, ImageSpec], Image.Image],
    resize: Callable[[Image.Image, tuple[int, int]], Image.Image],
) -> Callable[[Image.Image], Pixels]:
    return lambda image: np.asarray(resize(reshape(image, spec), (spec.size, spec.size)))


def _then(
    prepare: Callable[[Image.Image], Pixels], change: Callable[[Pixels], Pixels]
) -> Callable[[Image.Image], Pixels]:
    return lambda image: np.ascontiguousarray(change(prepare(image)))


def _after(
    change: Callable[[Image.Image], Image.Image], prepare: Callable[[Image.Image], Pixels]
) -> Callable[[Image.Image], Pixels]:
    return lambda image: prepare(change(image))


def _contract(image: Image.Image, spec: ImageSpec) -> Image.Image:
    crop = to_tensor(image, spec)[1]
    return image.crop(crop) if crop else image


def _central_square(image: Image.Image, _: ImageSpec) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _with_bars(image: Image.Image, _: ImageSpec) -> Image.Image:
    side = max(image.size)
    square = Image.new("RGB", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


# geometry → description, function, and the filters it is combined with
_GEOMETRIES: dict[str, tuple[str, Callable[[Image.Image, ImageSpec], Image.Image], tuple[str, ...]]] = {
    "whole": (
        "stretched as a whole, without the crop to 4:3",
        lambda image, _: image,
        ("plain", "corners", "antialias", "nearest", "area", "sharp"),
    ),
    "contract": ("", _contract, ("plain", "nearest", "area", "sharp")),
    "square": ("cropped to its central square", _central_square, ("plain", "antialias", "nearest")),
    "bars": ("fitted with black bars (letterboxed)", _with_bars, ("plain", "antialias", "nearest")),
}


def _plain(image: Image.Image, size: tuple[int, int], shift: float = 0.5) -> Image.Image:
    """Interpolate between the four nearest pixels, even when shrinking. (Pillow averages over more pixels then.)"""
    (left, right, across), (top, bottom, down) = (
        _nearest_two(new, old, shift) for new, old in zip(size, image.size, strict=True)
    )
    pixels, down, across = np.asarray(image), down[:, np.newaxis, np.newaxis], across[:, np.newaxis]
    columns = pixels[top] * (1 - down) + pixels[bottom] * down
    return Image.fromarray(np.rint(columns[:, left] * (1 - across) + columns[:, right] * across).astype(np.uint8))


def _nearest_two(new: int, old: int, shift: float) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return for each of `new` pixels the two of `old` pixels around it, and the weight of the second."""
    places = np.clip((np.arange(new) + shift) * old / new - shift, 0, old - 1)
    first = places.astype(np.intp)
    return first, np.minimum(first + 1, old - 1), places - first


_FILTERS: dict[str, tuple[str, Callable[[Image.Image, tuple[int, int]], Image.Image]]] = {
    "antialias": ("", lambda image, size: image.resize(size, Image.Resampling.BILINEAR)),
    "plain": ("resized without antialiasing (plain bilinear)", _plain),
    "corners": ("resized without antialiasing (plain bilinear)", lambda image, size: _plain(image, size, 0.0)),
    "nearest": ("resized by nearest neighbour", lambda image, size: image.resize(size, Image.Resampling.NEAREST)),
    "area": ("resized by averaging areas", lambda image, size: image.resize(size, Image.Resampling.BOX)),
    "sharp": (
        "resized by a sharper filter (bicubic or Lanczos)",
        lambda image, size: image.resize(size, Image.Resampling.BICUBIC),
    ),
}


def _swap_strides(image: Image.Image) -> Image.Image:
    """Read the image's bytes with width and height swapped."""
    return Image.frombytes("RGB", (image.height, image.width), image.tobytes())


def _four_bytes_a_pixel(pixels: Pixels) -> Pixels:
    opaque = np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 255, np.uint8)], axis=2)
    return opaque.reshape(-1)[: pixels.size].reshape(pixels.shape)


def _planes(pixels: Pixels) -> Pixels:
    return pixels.transpose(2, 0, 1).reshape(pixels.shape)


def _normalized(pixels: Pixels) -> NDArray[np.float64]:
    return np.asarray((pixels / 255 - _MEAN) / _DEVIATION, np.float64)


def _clipped(values: NDArray[np.float64]) -> Pixels:
    return np.clip(np.trunc(values), 0, 255).astype(np.uint8)


def _wrapped(values: NDArray[np.float64]) -> Pixels:
    return (np.trunc(values).astype(np.int64) & 255).astype(np.uint8)


_GREY_LEVELS = "feed grey levels 0 to 255 unchanged: the model scales them inside"
_UPRIGHT = "feed the image upright, as a viewer shows it, row by row from the top left"

# mistake → description, fix, and how it changes a correct tensor
_TENSORS: dict[str, tuple[str, str, Callable[[Pixels], Pixels]]] = {
    "bgr": ("red and blue are swapped: BGR instead of RGB", "feed RGB", lambda p: p[:, :, ::-1]),
    "planes": ("the channels come as planes ([3,S,S])", "interleave them: [S,S,3], red, green, blue", _planes),
    "rgba": ("four bytes per pixel (RGBA) are read as three", "remove the alpha bytes", _four_bytes_a_pixel),
    "signed": ("128 is subtracted from each pixel (signed bytes)", _GREY_LEVELS, lambda p: p ^ np.uint8(128)),
    "dark": (
        "the image is almost black: the pixels were divided by 255, scaled to -1..1 or normalized twice before the "
        "cast to uint8, or the tensor was never filled",
        _GREY_LEVELS,
        lambda p: p // np.uint8(255),
    ),
    "wrapped": (
        "mean and standard deviation were applied, and the cast to uint8 wrapped around below zero",
        _GREY_LEVELS,
        lambda p: _wrapped(_normalized(p)),
    ),
    "doubled": (
        "the pixels were scaled to -1..1 and then multiplied by 255: normalized twice",
        _GREY_LEVELS,
        lambda p: _clipped((p / 127.5 - 1) * 255),
    ),
    "normalized": (
        "mean and standard deviation were applied, and the result was multiplied by 255: normalized twice",
        _GREY_LEVELS,
        lambda p: _clipped(_normalized(p) * 255),
    ),
    "mirrored": ("the image is mirrored: left and right are swapped", _UPRIGHT, lambda p: p[:, ::-1]),
    "flipped": ("the image is upside down (rows from the bottom)", _UPRIGHT, lambda p: p[::-1]),
    "turned-180": ("the image is rotated by 180 degrees", _UPRIGHT, lambda p: p[::-1, ::-1]),
    "turned-left": ("the image is rotated by 90 degrees to the left", _UPRIGHT, lambda p: np.rot90(p, 1)),
    "turned-right": ("the image is rotated by 90 degrees to the right", _UPRIGHT, lambda p: np.rot90(p, -1)),
    "transposed": ("rows and columns are swapped", _UPRIGHT, lambda p: p.transpose(1, 0, 2)),
}


_BY_NAME = "read the output named scores, by its name in the signature"
_ORDER = "score number i belongs to line i of labels.txt"
_STALE = "fill the input before each run, and copy the output before the next one"


@dataclass(frozen=True, slots=True, eq=False)
class Misreading:
    """What an app with this mistake would report, one row per image; NaN if it is not predictable."""

    mistake: str
    what: str
    fix: str
    scores: NDArray[np.float64] = field(repr=False)
    unit: float = 1.0  # divides differences, so that logits or bytes count as much as scores


def misreadings(way: KnownWay, rows: tuple[int, ...], labels: tuple[str, ...]) -> Iterator[Misreading]:
    """Yield every misreading of the outputs of `way` for the images `rows`, in the order in which they were run."""
    chosen = list(rows)
    scores, logits = way.scores[chosen], way.logits[chosen]
    yield from _other_numbers(scores, logits)
    for name, table in way.complete.items():
        for count, extent in ((table.shape[1], "all"), (len(labels), "the beginning")):
            values = table[chosen][:, :count]
            yield Misreading(
                f"output-{name}",
                f"{extent} of the output {name} is read instead of the scores",
                _BY_NAME,
                values,
                _spread(values, scores),
            )
    yield from _other_order(scores, labels)
    yield from _other_image(scores)


def _other_numbers(scores: NDArray[np.float64], logits: NDArray[np.float64]) -> Iterator[Misreading]:
    what = "the logits (the mean of the evidence) are reported instead of the scores"
    yield Misreading("logits", what, _BY_NAME, logits, _spread(logits, scores))
    twice = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    what = "softmax is applied to the scores, which are the result of a softmax already"
    yield Misreading("softmax-twice", what, "report the scores unchanged", twice, _spread(twice, scores))
    what = "the scores are bytes from 0 to 255 instead of numbers from 0 to 1"
    yield Misreading("bytes", what, "read the scores as float32", 255 * scores, 255.0)
    yield Misreading("percent", "the scores are percentages", "report scores from 0 to 1", 100 * scores, 100.0)


def _other_order(scores: NDArray[np.float64], labels: tuple[str, ...]) -> Iterator[Misreading]:
    for step, words in ((1, "after"), (-1, "before")):
        shifted = np.roll(scores, step, axis=1)
        shifted[:, 0 if step > 0 else -1] = np.nan
        yield Misreading("shifted", f"the scores are one position {words} their labels", _ORDER, shifted)
    alphabetical = sorted(range(len(labels)), key=labels.__getitem__)
    if alphabetical != list(range(len(labels))):
        what = "the labels were sorted alphabetically"
        yield Misreading("sorted-labels", what, _ORDER, scores[:, alphabetical])
    what = "the scores are sorted from high to low, without their labels"
    yield Misreading(
        "ranked", what, 'report them in the order of labels.txt, or give "labels"', -np.sort(-scores, axis=1)
    )


def _other_image(scores: NDArray[np.float64]) -> Iterator[Misreading]:
    for stuck in scores:
        what = "all scores are those of one image: a stale buffer"
        yield Misreading("stale", what, _STALE, np.broadcast_to(stuck, scores.shape))
    behind = np.roll(scores, 1, axis=0)
    behind[0] = np.nan
    yield Misreading("behind", "all scores are those of the previous image: a stale buffer", _STALE, behind)


def _spread(values: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    return float(max(values.std(), 1e-6) / max(scores.std(), 1e-6))
