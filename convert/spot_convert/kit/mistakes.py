"""The usual ways to prepare a picture, right and wrong: each makes the tensor that an app with that mistake makes.

A wrong tensor comes in three kinds, from our own resizing and from two of stock clients, because all such apps err.


The usual ways to misread right outputs: each foretells what an app with that mistake would report."""

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
_RESIZE_ADVICE = "crop to the central 4:3 where width to height is not 1.2 to 1.5, then resize with antialiasing"
_STOCK_ADVICE = '; or say "resize": "stock" in the results, if it is your framework that resizes'


@dataclass(frozen=True, slots=True)
class Way:
    """One way to make the input tensor: `prepare` makes uint8[S,S,3] of an upright RGB picture."""

    key: str
    mistake: str  # the same for one mistake after either resizing
    resize: str
    what: str  # in words, as in "the picture is mirrored"
    mend: str
    inputs: bool  # whether it can befall a picture that has the input's size already
    prepare: Callable[[Image.Image], Pixels]


def all_ways(spec: ImageSpec) -> list[Way]:
    """The right way first, then stock clients', then every mistake."""
    right = Way(RIGHT, RIGHT, RIGHT, "as the model file says", "", True, lambda picture: to_tensor(picture, spec)[0][0])
    resizes = list(_resizes(spec))
    ways = [right, *resizes]
    for base in (right, *(way for way in resizes if way.resize == STOCK)):
        ending = "" if base is right else f"+{base.key}"
        for key, (what, mend, change) in _TENSORS.items():
            ways.append(Way(key + ending, key, base.resize, what, mend, base is right, _then(base.prepare, change)))
        what, mend = "width and height are swapped: rows of the wrong length are read", "pass width and height in order"
        ways.append(
            Way(f"strides{ending}", "strides", base.resize, what, mend, False, _after(_swap_strides, base.prepare))
        )
    what = "the picture is prepared twice: what was resized already is cropped and resized again"
    again = _after(lambda picture: Image.fromarray(right.prepare(picture)), right.prepare)
    ways.append(Way("again", "again", RIGHT, what, "feed what is in inputs/ as it is", True, again))
    return ways


def _resizes(spec: ImageSpec) -> Iterator[Way]:
    """Every geometry with the filters that go with it, stock clients' first."""
    for geometry, (shape_words, reshape, filters) in _GEOMETRIES.items():
        for filter_ in filters:
            filter_words, resize = _FILTERS[filter_]
            what = "the picture is " + " and ".join(words for words in (shape_words, filter_words) if words)
            key = {"whole-plain": STOCK, "whole-corners": CORNERS}.get(f"{geometry}-{filter_}", f"{geometry}-{filter_}")
            kind = STOCK if key == CORNERS else key
            mend = _RESIZE_ADVICE + (_STOCK_ADVICE if kind == STOCK else "")
            yield Way(key, kind, kind, what, mend, False, _resizing(spec, reshape, resize))


def _resizing(
    spec: ImageSpec,
    reshape: Callable[[Image.Image, ImageSpec], Image.Image],
    resize: Callable[[Image.Image, tuple[int, int]], Image.Image],
) -> Callable[[Image.Image], Pixels]:
    return lambda picture: np.asarray(resize(reshape(picture, spec), (spec.size, spec.size)))


def _then(
    prepare: Callable[[Image.Image], Pixels], change: Callable[[Pixels], Pixels]
) -> Callable[[Image.Image], Pixels]:
    return lambda picture: np.ascontiguousarray(change(prepare(picture)))


def _after(
    change: Callable[[Image.Image], Image.Image], prepare: Callable[[Image.Image], Pixels]
) -> Callable[[Image.Image], Pixels]:
    return lambda picture: prepare(change(picture))


def _contract(picture: Image.Image, spec: ImageSpec) -> Image.Image:
    crop = to_tensor(picture, spec)[1]
    return picture.crop(crop) if crop else picture


def _central_square(picture: Image.Image, _: ImageSpec) -> Image.Image:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def _with_bars(picture: Image.Image, _: ImageSpec) -> Image.Image:
    side = max(picture.size)
    square = Image.new("RGB", (side, side))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


# geometry → its words, what it does, and the filters that it is met with
_GEOMETRIES: dict[str, tuple[str, Callable[[Image.Image, ImageSpec], Image.Image], tuple[str, ...]]] = {
    "whole": (
        "stretched whole, without the crop to 4:3",
        lambda picture, _: picture,
        ("plain", "corners", "antialias", "nearest", "area", "sharp"),
    ),
    "contract": ("", _contract, ("plain", "nearest", "area", "sharp")),
    "square": ("cropped to its central square", _central_square, ("plain", "antialias", "nearest")),
    "bars": ("fitted in with black bars (letterboxed)", _with_bars, ("plain", "antialias", "nearest")),
}


def _plain(picture: Image.Image, size: tuple[int, int], shift: float = 0.5) -> Image.Image:
    """Bilinear between the four nearest pixels, however much it shrinks (Pillow's own widens its support then)."""
    (left, right, across), (top, bottom, down) = (
        _nearest_two(new, old, shift) for new, old in zip(size, picture.size, strict=True)
    )
    pixels, down, across = np.asarray(picture), down[:, np.newaxis, np.newaxis], across[:, np.newaxis]
    columns = pixels[top] * (1 - down) + pixels[bottom] * down
    return Image.fromarray(np.rint(columns[:, left] * (1 - across) + columns[:, right] * across).astype(np.uint8))


def _nearest_two(new: int, old: int, shift: float) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """For each of `new` pixels the two of `old` ones that it lies between, and how near it is to the second."""
    places = np.clip((np.arange(new) + shift) * old / new - shift, 0, old - 1)
    first = places.astype(np.intp)
    return first, np.minimum(first + 1, old - 1), places - first


_FILTERS: dict[str, tuple[str, Callable[[Image.Image, tuple[int, int]], Image.Image]]] = {
    "antialias": ("", lambda picture, size: picture.resize(size, Image.Resampling.BILINEAR)),
    "plain": ("resized without antialiasing (plain bilinear)", _plain),
    "corners": ("resized without antialiasing (plain bilinear)", lambda picture, size: _plain(picture, size, 0.0)),
    "nearest": ("resized by nearest neighbour", lambda picture, size: picture.resize(size, Image.Resampling.NEAREST)),
    "area": ("resized by averaging areas", lambda picture, size: picture.resize(size, Image.Resampling.BOX)),
    "sharp": (
        "resized by a sharper filter (bicubic or Lanczos)",
        lambda picture, size: picture.resize(size, Image.Resampling.BICUBIC),
    ),
}


def _swap_strides(picture: Image.Image) -> Image.Image:
    """The picture's bytes read in rows as long as it is high."""
    return Image.frombytes("RGB", (picture.height, picture.width), picture.tobytes())


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


_GREY_LEVELS = "feed grey levels 0 to 255 as they are: all scaling is inside the file"
_UPRIGHT = "feed the picture upright, as a viewer shows it, row by row from the top left"

# mistake → what it is, what to do, and the tensor that it makes of a right one
_TENSORS: dict[str, tuple[str, str, Callable[[Pixels], Pixels]]] = {
    "bgr": ("red and blue are swapped: BGR where RGB is wanted", "feed RGB", lambda p: p[:, :, ::-1]),
    "planes": ("the channels come as planes ([3,S,S])", "interleave them: [S,S,3], red, green, blue", _planes),
    "rgba": ("four bytes a pixel (RGBA) are read as three", "leave the alpha bytes out", _four_bytes_a_pixel),
    "signed": ("128 is taken off each pixel (signed bytes)", _GREY_LEVELS, lambda p: p ^ np.uint8(128)),
    "dark": (
        "the picture is nearly black: the pixels were divided by 255, scaled to -1..1 or normalized twice before the "
        "cast to uint8, or the tensor was never filled",
        _GREY_LEVELS,
        lambda p: p // np.uint8(255),
    ),
    "wrapped": (
        "mean and deviation were applied, and the cast to uint8 wrapped around below zero",
        _GREY_LEVELS,
        lambda p: _wrapped(_normalized(p)),
    ),
    "doubled": (
        "the pixels were scaled to -1..1 and then multiplied by 255: normalized twice",
        _GREY_LEVELS,
        lambda p: _clipped((p / 127.5 - 1) * 255),
    ),
    "normalized": (
        "mean and deviation were applied and the result multiplied by 255: normalized twice",
        _GREY_LEVELS,
        lambda p: _clipped(_normalized(p) * 255),
    ),
    "mirrored": ("the picture is mirrored, left for right", _UPRIGHT, lambda p: p[:, ::-1]),
    "flipped": ("the picture is upside down (rows from the bottom)", _UPRIGHT, lambda p: p[::-1]),
    "turned-180": ("the picture is turned by 180 degrees", _UPRIGHT, lambda p: p[::-1, ::-1]),
    "turned-left": ("the picture is turned by 90 degrees to the left", _UPRIGHT, lambda p: np.rot90(p, 1)),
    "turned-right": ("the picture is turned by 90 degrees to the right", _UPRIGHT, lambda p: np.rot90(p, -1)),
    "transposed": ("rows and columns are exchanged", _UPRIGHT, lambda p: p.transpose(1, 0, 2)),
}


_BY_NAME = "read the output named scores, by its name in the signature"
_ORDER = "position i of the scores belongs to line i of labels.txt"
_STALE = "fill the input anew before each run, and copy the output before the next"


@dataclass(frozen=True, slots=True, eq=False)
class Misreading:
    """What an app would report, one row an answer; NaN where the mistake foretells nothing."""

    mistake: str
    what: str
    mend: str
    scores: NDArray[np.float64] = field(repr=False)
    unit: float = 1.0  # differences are measured in these, so that logits or bytes weigh as much as scores


def misreadings(way: KnownWay, rows: tuple[int, ...], labels: tuple[str, ...]) -> Iterator[Misreading]:
    """All of them, of the outputs that `way` leads to for the pictures `rows`, in the order in which they were run."""
    chosen = list(rows)
    scores, logits = way.scores[chosen], way.logits[chosen]
    yield from _other_numbers(scores, logits)
    for name, table in way.whole.items():
        for count, part in ((table.shape[1], "all"), (len(labels), "the beginning")):
            values = table[chosen][:, :count]
            yield Misreading(
                f"output-{name}", f"{part} of the output {name} is read", _BY_NAME, values, _spread(values, scores)
            )
    yield from _other_order(scores, labels)
    yield from _other_picture(scores)


def _other_numbers(scores: NDArray[np.float64], logits: NDArray[np.float64]) -> Iterator[Misreading]:
    what = "the logits (the mean of the evidence) are reported instead of the scores"
    yield Misreading("logits", what, _BY_NAME, logits, _spread(logits, scores))
    twice = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    what = "softmax is applied to scores, which went through one already"
    yield Misreading("softmax-twice", what, "report the scores as they are", twice, _spread(twice, scores))
    what = "the scores are bytes, 0 to 255, not turned back into 0 to 1"
    yield Misreading("bytes", what, "the scores are float32: read them as such", 255 * scores, 255.0)
    yield Misreading("percent", "the scores are percentages", "report scores from 0 to 1", 100 * scores, 100.0)


def _other_order(scores: NDArray[np.float64], labels: tuple[str, ...]) -> Iterator[Misreading]:
    for step, words in ((1, "after"), (-1, "before")):
        shifted = np.roll(scores, step, axis=1)
        shifted[:, 0 if step > 0 else -1] = np.nan
        yield Misreading("shifted", f"the scores stand one place {words} their labels", _ORDER, shifted)
    alphabetical = sorted(range(len(labels)), key=labels.__getitem__)
    if alphabetical != list(range(len(labels))):
        what = "the labels were sorted alphabetically"
        yield Misreading("sorted-labels", what, _ORDER, scores[:, alphabetical])
    what = "the scores are in the order of their ranks, and no labels are given with them"
    yield Misreading(
        "ranked", what, 'report them in the order of labels.txt, or give "labels"', -np.sort(-scores, axis=1)
    )


def _other_picture(scores: NDArray[np.float64]) -> Iterator[Misreading]:
    for stuck in scores:
        what = "every answer is that of one and the same picture: a stale buffer"
        yield Misreading("stale", what, _STALE, np.broadcast_to(stuck, scores.shape))
    behind = np.roll(scores, 1, axis=0)
    behind[0] = np.nan
    yield Misreading("behind", "every answer is that of the picture before it: a stale buffer", _STALE, behind)


def _spread(values: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    return float(max(values.std(), 1e-6) / max(scores.std(), 1e-6))
