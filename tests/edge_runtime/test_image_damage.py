"""Damage that decoders overlook: wrong checksums of a PNG, and a JPEG that was cut off and has an end."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFile

from spot_edge.errors import InputError
from spot_edge.image.source import Source
from spot_edge.image.tensor import decode, prepare
from spot_edge.model.spec import ImageSpec

END = b"\xff\xd9"
TOO_FEW = "scan: damaged image: the PNG has too few rows of pixels"
KINDS = {
    "plain": {},
    "optimized": {"optimize": True, "quality": 30},
    "fine colors": {"subsampling": 0, "quality": 95},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
}


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def refusal(data: bytes) -> str:
    with pytest.raises(InputError, match=r"^scan: ") as refused:
        decode(data, "scan")
    return str(refused.value)


def accepted(data: bytes) -> bool:
    try:
        decode(data, "scan")
    except InputError:
        return False
    return True


def test_every_flipped_bit_of_a_png_is_noticed(draw, encode) -> None:
    png = encode(draw(64, 48))
    chosen = random.Random(5)
    places = [*range(8 * len(png))][:400] + [chosen.randrange(8 * len(png)) for _ in range(400)]
    places += range(8 * len(png) - 120, 8 * len(png))
    for place in places:
        damaged = bytearray(png)
        damaged[place // 8] ^= 1 << place % 8
        assert not accepted(bytes(damaged)), place


def test_a_wrong_checksum_is_named(draw, encode) -> None:
    png = encode(draw(64, 48))
    assert (
        refusal(png[:-20] + bytes([png[-20] ^ 1]) + png[-19:]) == "scan: damaged image: a checksum of the PNG is wrong"
    )


def test_a_png_without_its_end_is_damaged(draw, encode) -> None:
    png = encode(draw(64, 48))
    for cut in range(1, 30):
        assert "damaged image" in refusal(png[:-cut])
    assert accepted(png + b"whatever follows the end")


def test_a_second_profile_of_a_png_is_damage(draw, encode) -> None:
    png = encode(draw(64, 48), icc_profile=b"profile")
    profile = png[33 : png.index(b"IDAT") - 4]
    assert accepted(png)
    assert refusal(png[:33] + profile + png[33:]) == "scan: damaged image: its iCCP chunk occurs twice"


def png_of(header: tuple[int, int, int, int, int], rows: bytes, *extra: bytes, broken: bool = False) -> bytes:
    """A PNG with these width, height, depth, color type and interlacing, whose checksums are right."""
    packed = bytearray(zlib.compress(rows))
    if broken:
        packed[len(packed) // 2 : len(packed) // 2 + 40] = b"\xff" * 40
    width, height, depth, color, interlaced = header
    first = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + first + b"".join(extra) + chunk(b"IDAT", bytes(packed)) + chunk(b"IEND")


def interlaced_rows(picture: np.ndarray) -> list[bytes]:
    starts = (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
    return [b"\0" + row.tobytes() for x, y, right, down in starts for row in picture[y::down, x::right]]


EXIF = chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0\0\0\0\0")


@pytest.mark.parametrize("extra", [(), (EXIF,)])
def test_broken_pixels_of_a_png_with_right_checksums_are_noticed(extra: tuple[bytes, ...], draw) -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in draw(64, 48))
    assert accepted(png_of((64, 48, 8, 2, 0), rows, *extra))
    assert "damaged image: " in refusal(png_of((64, 48, 8, 2, 0), rows, *extra, broken=True))
    with pytest.raises(InputError, match="damaged image: "):
        prepare(Source.of(Image.open(io.BytesIO(png_of((64, 48, 8, 2, 0), rows, *extra, broken=True)))), ImageSpec(48))


@pytest.mark.parametrize(
    ("depth", "color", "size"), [(8, 2, 192), (16, 2, 384), (8, 0, 64), (1, 0, 8), (4, 0, 32), (16, 0, 128), (8, 3, 64)]
)
@pytest.mark.parametrize("level", [0, 200])
def test_a_png_with_too_few_rows_is_refused(depth: int, color: int, size: int, level: int) -> None:
    """Also a black one, though Pillow would have left its missing rows black."""
    palette = (chunk(b"PLTE", bytes(768)),) if color == 3 else ()
    row = b"\0" + bytes([level]) * size
    assert accepted(png_of((64, 49, depth, color, 0), 49 * row, *palette))
    assert accepted(png_of((64, 49, depth, color, 0), 49 * row + b"more", *palette))
    for rows in (1, 24, 48):
        assert refusal(png_of((64, 49, depth, color, 0), rows * row, *palette)) == TOO_FEW


@pytest.mark.parametrize("height", [48, 49])
@pytest.mark.parametrize("black", [0, 1, 2, 49])
def test_an_interlaced_png_with_too_few_rows_is_refused(height: int, black: int, draw) -> None:
    picture = np.maximum(draw(61, height), 1)
    picture[height - min(black, height) :] = 0
    rows = interlaced_rows(picture)
    whole = decode(png_of((61, height, 8, 2, 1), b"".join(rows)), "scan")[0]
    assert np.array_equal(np.asarray(whole), picture)
    for missing in (1, 2, 30):
        assert refusal(png_of((61, height, 8, 2, 1), b"".join(rows[:-missing]))) == TOO_FEW


def test_many_pieces_of_black_pixels_are_counted() -> None:
    rows = np.random.default_rng(5).integers(0, 256, (1001, 1 + 3 * 900), np.uint8)
    rows[:, 0], rows[-500:] = 0, 0
    assert accepted(png_of((900, 1001, 8, 2, 0), rows.tobytes()))
    assert refusal(png_of((900, 1001, 8, 2, 0), rows[:-1].tobytes())) == TOO_FEW


def pictures(draw: Callable[[int, int], np.ndarray]) -> list[np.ndarray]:
    """300 images of many sizes and degrees of detail."""
    found = []
    for number in range(300):
        width, height = 40 + 7 * (number % 23), 33 + 5 * (number % 29)
        picture = np.roll(draw(width, height), number, axis=number % 2)
        if number % 5 == 4:  # soft, so that blocks are short
            picture = np.asarray(Image.fromarray(picture).resize((4, 3)).resize((width, height)))
        if number % 50 == 49:
            picture = np.full_like(picture, number % 256)
        found.append(picture)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_cut_at_half_is_refused_even_if_it_has_an_end(kind: str, draw, encode) -> None:
    """A progressive one may be cut in its last scan, the fine detail of the brightness: this goes unnoticed."""
    refused = 0
    for picture in pictures(draw):
        jpeg = encode(picture, "JPEG", **KINDS[kind])
        whole = decode(jpeg, "scan")[0]
        pixels = jpeg.index(b"\xff\xda\0") + 14
        cut = jpeg[: pixels + (len(jpeg) - pixels) // 2] + END
        if accepted(cut):
            assert np.abs(np.asarray(whole).astype(int) - np.asarray(decode(cut, "scan")[0])).mean() < 4
        else:
            refused += 1
    assert refused >= (250 if kind == "progressive" else 300)


def test_such_a_cut_is_called_truncated(draw, encode) -> None:
    jpeg = encode(draw(200, 150), "JPEG")
    for kept in (0.6, 0.8, 0.97):
        for end in (END, END + jpeg, b"\xff\xc4\0\2" + END):
            assert "damaged image: image file is truncated" in refusal(jpeg[: int(kept * len(jpeg))] + end)
    several = encode(draw(200, 150), "JPEG", progressive=True)
    assert "damaged image: image file is truncated" in refusal(several[: several.rindex(b"\xff\xda")] + END)
    grey = encode(draw(200, 150)[:, :, 0], "JPEG")
    assert "damaged image: image file is truncated" in refusal(grey[: len(grey) // 2] + END)


def test_a_cut_jpeg_with_an_unusual_start_is_refused(draw, encode) -> None:
    jpeg = encode(draw(200, 150), "JPEG")
    jpeg = jpeg[:2] + b"\xff" + jpeg[2:]  # a fill byte before a marker
    assert accepted(jpeg)
    assert "image file is truncated" in refusal(jpeg[: len(jpeg) // 2] + END)


def test_a_cut_jpeg_is_refused_at_a_reduced_size(draw, encode) -> None:
    jpeg = encode(draw(1536, 1152), "JPEG")
    spec = ImageSpec(48, "stretch-reduced-jpeg")
    assert prepare(Source.of(jpeg), spec).reduction == 8
    with pytest.raises(InputError, match="image file is truncated"):
        prepare(Source.of(jpeg[: len(jpeg) // 2] + END), spec)


@pytest.mark.parametrize(
    "after", [b"", b"\xff", b"\xff\xff\xff", b"\0" * 100, END, b"\xff\xd8\xff\xe0 a preview \xff\xd9"]
)
def test_what_follows_a_whole_jpeg_changes_no_pixel(after: bytes, draw, encode) -> None:
    for options in KINDS.values():
        jpeg = encode(draw(80, 60), "JPEG", **options)
        whole = np.asarray(decode(jpeg, "scan")[0])
        assert np.array_equal(np.asarray(decode(jpeg + after, "scan")[0]), whole)
        if END not in after:  # between the pixels and the end
            assert np.array_equal(np.asarray(decode(jpeg[:-2] + after + END, "scan")[0]), whole)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_a_program_that_wants_truncated_images_gets_none_from_us(form: str, draw, encode, monkeypatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encode(draw(200, 150), form)
    half = data[: len(data) // 2]
    assert accepted(data)
    for cut in (half, half + END):
        assert "damaged image: " in refusal(cut)
    if form != "WEBP":  # these cannot be opened
        with pytest.raises(InputError, match="damaged image: "):
            prepare(Source.of(Image.open(io.BytesIO(half))), ImageSpec(48))
    assert ImageFile.LOAD_TRUNCATED_IMAGES
