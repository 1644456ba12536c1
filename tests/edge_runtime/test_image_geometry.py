"""From an upright image to the network's square: cropping, stretching, and the golden tensors.

golden.json holds SHA-256 digests of tensors, which are the same in Pillow 9.4 and 13. It is edited by hand: a change
means that every model's predictions change. Its images are lossless, because JPEG decoders differ by a grey level.
"""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spot_edge.image.source import Source
from spot_edge.image.tensor import prepare, to_tensor
from spot_edge.model.spec import ImageSpec

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
SPEC = ImageSpec(48)


def crop(width: int, height: int) -> tuple[int, int, int, int] | None:
    return to_tensor(Image.new("RGB", (width, height)), SPEC)[1]


@pytest.mark.parametrize(
    ("width", "height", "kept"),
    [
        (600, 500, None),  # 1.2
        (599, 500, (0, 25, 599, 474)),
        (600, 400, None),  # 1.5
        (601, 400, (34, 0, 567, 400)),
        (700, 401, (82, 0, 617, 401)),
        (400, 300, None),
        (600, 450, None),
        (450, 600, (0, 131, 450, 469)),
        (500, 500, (0, 62, 500, 437)),
        (1920, 1080, (240, 0, 1680, 1080)),
        (32, 32, (0, 4, 32, 28)),
        (33, 33, (0, 4, 33, 29)),
        (32, 2000, (0, 988, 32, 1012)),
    ],
)
def test_the_crop_of_each_shape(width: int, height: int, kept: tuple[int, int, int, int] | None) -> None:
    assert crop(width, height) == kept


def test_the_boundaries_are_exact_at_every_height() -> None:
    wrong = []
    for height in range(35, 600, 5):
        for width in (6 * height // 5 - 1, 6 * height // 5, 3 * height // 2, 3 * height // 2 + 1):
            stretched = Fraction(6, 5) <= Fraction(width, height) <= Fraction(3, 2)
            if (crop(width, height) is None) != stretched:
                wrong.append((width, height))
    assert not wrong


@pytest.mark.parametrize(("width", "height"), [(90, 33), (77, 91), (64, 64), (301, 200), (34, 150)])
def test_a_crop_is_central_and_four_to_three(width: int, height: int) -> None:
    left, top, right, bottom = crop(width, height)
    assert abs(left - (width - right)) <= 1
    assert abs(top - (height - bottom)) <= 1
    assert abs(3 * (right - left) - 4 * (bottom - top)) <= 2
    assert right - left == width or bottom - top == height


def test_a_cropped_image_equals_its_crop(draw) -> None:
    picture = Image.fromarray(draw(200, 90))
    tensor, box = to_tensor(picture, SPEC)
    assert box == (40, 0, 160, 90)
    assert np.array_equal(tensor, to_tensor(picture.crop(box), SPEC)[0])


def test_a_tensor_is_one_image_of_bytes(draw) -> None:
    tensor, _ = to_tensor(Image.fromarray(draw(120, 90)), ImageSpec(192))
    assert (tensor.shape, tensor.dtype) == ((1, 192, 192, 3), np.uint8)


def test_an_image_with_as_many_rows_as_the_network_is_not_blurred() -> None:
    rows = np.arange(48, dtype=np.uint8) * 5
    picture = np.broadcast_to(rows[:, np.newaxis, np.newaxis], (48, 64, 3))
    tensor, crop_box = to_tensor(Image.fromarray(np.ascontiguousarray(picture)), SPEC)
    assert crop_box is None
    assert np.array_equal(tensor[0, :, 0, 0], rows)


def test_shrinking_averages_instead_of_skipping() -> None:
    """Antialiasing: a fine chequerboard becomes grey, where plain bilinear sampling would leave moiré."""
    board = (255 * (np.indices((450, 600)).sum(axis=0) % 2)).astype(np.uint8)
    tensor, _ = to_tensor(Image.fromarray(board).convert("RGB"), SPEC)
    assert np.ptp(tensor.astype(int)) <= 4
    assert abs(float(tensor.mean()) - 127.5) < 2


def test_the_preprocessing_is_recorded(draw, encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    prepared = prepare(Source.of(encode(draw(90, 200), exif=exif)), SPEC)
    expected = {"width": 200, "height": 90, "orientation": 6, "crop": [40, 0, 160, 90], "size": 48}
    expected |= {"geometry": "stretch", "filter": "bilinear-antialias"}
    assert prepared.as_dict() == expected
    assert prepared.image.size == (200, 90)
    assert min(prepared.decode_ms, prepared.resize_ms) >= 0
    assert "image=" not in repr(prepared)
    assert "tensor=" not in repr(prepared)


def test_an_array_and_its_file_give_the_same_tensor(draw, encode) -> None:
    picture = draw(121, 89)
    reversed_twice = picture[::-1, ::-1][::-1, ::-1]  # a view that is not contiguous on the way
    for thing in (encode(picture), picture, reversed_twice, np.asfortranarray(picture)):
        assert np.array_equal(prepare(Source.of(thing), SPEC).tensor, prepare(Source.of(picture), SPEC).tensor)


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


# name → width and height drawn, file format and its options, size of the network's input
PICTURES = {
    "600x450 to 192": (600, 450, "PNG", {}, 192),
    "600x450 to 224": (600, 450, "TIFF", {}, 224),
    "61x47 to 192, enlarged": (61, 47, "BMP", {}, 192),
    "1023x701 to 96, stretched": (1023, 701, "PNG", {}, 96),
    "300x300 to 64, cropped": (300, 300, "PNG", {}, 64),
    "640x360 to 64, cropped": (640, 360, "WEBP", {"lossless": True}, 64),
    "201x407 to 64, cropped": (201, 407, "PNG", {}, 64),
    "90x120 turned to 64": (90, 120, "PNG", {"exif": exif_of(8)}, 64),
}


def blot(width: int, height: int) -> np.ndarray:
    """A dark, lopsided blot on grainy ground; every filter smooths its hard rim differently."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.stack([214 - y % 23, 170 - x % 29, 150 - (x + y) % 31], axis=2)
    inside = 9 * (2 * x - width) ** 2 + 25 * (2 * y - height) ** 2 < 4 * min(width, height) ** 2 + 40 * x * y % 9973
    picture[inside] = picture[inside] // 3 + np.array([20, 4, 1])
    return picture.astype(np.uint8)


@pytest.mark.parametrize("name", PICTURES)
def test_golden_tensors(name: str, encode) -> None:
    width, height, form, options, size = PICTURES[name]
    tensor = prepare(Source.of(encode(blot(width, height), form, **options)), ImageSpec(size)).tensor
    assert hashlib.sha256(tensor.tobytes()).hexdigest() == GOLDEN[name]


def test_golden_tensor_of_16_bit_grey(encode) -> None:
    grey = (np.arange(300 * 400, dtype=np.uint32).reshape(300, 400) * 7 % 65536).astype(np.uint16)
    tensor = prepare(Source.of(encode(grey)), ImageSpec(64)).tensor
    assert hashlib.sha256(tensor.tobytes()).hexdigest() == GOLDEN["400x300 of 16-bit grey to 64"]


def test_every_golden_tensor_is_checked() -> None:
    assert set(GOLDEN) == {*PICTURES, "400x300 of 16-bit grey to 64"}


def test_times_are_milliseconds_of_decoding_and_of_resizing(draw, encode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", iter([1.0, 1.5, 1.75]).__next__)
    prepared = prepare(Source.of(encode(draw(64, 48), "PNG")), SPEC)
    assert (prepared.decode_ms, prepared.resize_ms) == (500.0, 250.0)
