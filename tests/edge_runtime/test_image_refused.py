"""Pictures that cannot be judged honestly are refused with one line that names them."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spot_edge.errors import InputError
from spot_edge.image import decode, prepare
from spot_edge.modelspec import ImageSpec
from spot_edge.source import Source

PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bare_png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return PNG + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def refusal(data: bytes) -> str:
    with pytest.raises(InputError) as refused:
        decode(data, "scan 7.png")
    message = str(refused.value)
    assert message.startswith("scan 7.png: ")
    assert "\n" not in message
    return message


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png: no such file"):
        Source.of(tmp_path / "gone.png").read()


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder, not an image"):
        Source.of(tmp_path).read()


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Source.of("a\0b").read()


def test_an_empty_file() -> None:
    assert refusal(b"") == "scan 7.png: empty"


@pytest.mark.parametrize("data", [b"GIF", b"%PDF-1.7 ", b"RIFF\0\0\0\0WAVEfmt ", bytes(100), b"\xff\xd8"])
def test_what_is_not_an_image(data: bytes) -> None:
    assert "not an image in a known format (JPEG, PNG, WEBP, TIFF, BMP, GIF)" in refusal(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("kept", [0.03, 0.3, 0.6, 0.9])
def test_a_truncated_file(form: str, kept: float, draw, encode) -> None:
    data = encode(draw(200, 150), form)
    assert "damaged image: " in refusal(data[: int(len(data) * kept)])


def test_a_header_with_rubbish_behind_it() -> None:
    for start in (b"\xff\xd8\xff\xe0", PNG, b"II*\0", b"MM\0*", b"BM", b"GIF89a", b"RIFF\x40\0\0\0WEBPVP8 "):
        assert "damaged image: " in refusal(start + bytes(range(200)))


@pytest.mark.parametrize(("width", "height"), [(8000, 6251), (14000, 14000)])  # just over 50, and over Pillow's own 179
def test_a_decompression_bomb_of_zeros(width: int, height: int) -> None:
    rows = bytes(height * (1 + width // 8))
    data = bare_png(width, height, 1, 0, rows)
    assert len(data) < 100_000
    assert refusal(data) == "scan 7.png: more than 50 megapixels: refused before decoding"


def test_a_bomb_is_refused_by_its_header_alone() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    assert "more than 50 megapixels" in refusal(PNG + header + chunk(b"IDAT", b"no pixels here"))


def test_fifty_megapixels_are_taken() -> None:
    picture, _ = decode(bare_png(8000, 6250, 1, 0, bytes(6250 * 1001)), "whole slide")
    assert picture.size == (8000, 6250)


@pytest.mark.parametrize(("width", "height"), [(31, 400), (400, 31), (1, 1)])
def test_a_picture_too_small_to_judge(width: int, height: int, draw, encode) -> None:
    assert f"{width}x{height} pixels are too few" in refusal(encode(draw(width, height)))


def test_thirty_two_pixels_a_side_are_taken(draw, encode) -> None:
    assert decode(encode(draw(32, 32)), "small")[0].size == (32, 32)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_pictures_in_one_file(form: str, draw, encode) -> None:
    frames = [Image.fromarray(draw(64, 48)), Image.fromarray(255 - draw(64, 48)), Image.new("RGB", (64, 48))]
    assert "3 pictures in one file" in refusal(encode(frames[0], form, save_all=True, append_images=frames[1:]))


@pytest.mark.parametrize("mode", ["F", "I"])
def test_a_tiff_of_32_bit_pixels(mode: str, encode) -> None:
    assert "32-bit pixels of unknown range" in refusal(encode(Image.new(mode, (64, 48)), "TIFF"))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("alpha", [0, 254])
def test_a_single_transparent_pixel(mode: str, alpha: int, draw, encode) -> None:
    image = Image.fromarray(draw(64, 48)).convert(mode)
    image.putpixel((63, 47), (*image.getpixel((63, 47))[:-1], alpha))
    assert "has transparent parts" in refusal(encode(image))


def test_a_palette_colour_that_is_transparent(draw, encode) -> None:
    palette = Image.fromarray(draw(64, 48)).quantize(8)
    assert "has transparent parts" in refusal(encode(palette, transparency=palette.getpixel((0, 0))))


def test_a_transparent_rgb_colour_that_occurs(draw, encode) -> None:
    picture = draw(64, 48)
    corner = tuple(int(level) for level in picture[0, 0])
    assert "has transparent parts" in refusal(encode(picture, transparency=corner))


@pytest.mark.parametrize("depth", [1, 16])
def test_a_transparent_grey_of_a_depth_that_pillow_misreads(depth: int) -> None:
    rows = b"".join(b"\0" + bytes(range(64 * depth // 8)) for _ in range(64))
    grey = bare_png(64, 64, depth, 0, rows, chunk(b"tRNS", struct.pack(">H", 1)))
    assert "has transparent parts" in refusal(grey)


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_a_float_array_is_refused_with_a_hint(scale: float) -> None:
    with pytest.raises(InputError, match=r"uint8\[H,W,3\] RGB, not float32\[64, 64, 3\] \(scale floats to 0..255"):
        prepare(Source.of(np.full((64, 64, 3), scale, np.float32)), ImageSpec(32))


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 4), (1, 64, 64, 3), (3, 64, 64), (0,)])
def test_an_array_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"array: an array must be uint8\[H,W,3\] RGB"):
        prepare(Source.of(np.zeros(shape, np.uint8)), ImageSpec(32))


@pytest.mark.parametrize("shape", [(64, 31, 3), (0, 64, 3)])
def test_an_array_too_small_to_judge(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="too few to judge"):
        prepare(Source.of(np.zeros(shape, np.uint8)), ImageSpec(32))


def test_an_array_too_large_to_hold() -> None:
    endless = np.broadcast_to(np.uint8(0), (8000, 6251, 3))
    with pytest.raises(InputError, match="more than 50 megapixels"):
        prepare(Source.of(endless), ImageSpec(32))


def test_damage_leaves_the_filters_of_warnings_as_they_were(draw, encode) -> None:
    before = list(warnings.filters)
    refusal(encode(draw(64, 48), "TIFF")[:-40])
    assert warnings.filters == before
