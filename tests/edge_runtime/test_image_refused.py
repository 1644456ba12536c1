"""Images that cannot be classified reliably are rejected with one line that names them."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spot_edge.errors import InputError
from spot_edge.image.source import Source
from spot_edge.image.tensor import decode, prepare
from spot_edge.model.spec import ImageSpec

# Decodes standard input and prints the error.
DECODE = """
import sys
from spot_edge.errors import InputError
from spot_edge.image.tensor import decode
try:
    decode(sys.stdin.buffer.read(), "stdin")
except InputError as error:
    print(error)
"""
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
def test_a_file_that_is_not_an_image(data: bytes) -> None:
    assert "not an image in a known format (JPEG, PNG, WEBP, TIFF, BMP, GIF)" in refusal(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("kept", [0.03, 0.3, 0.6, 0.9])
def test_a_truncated_file(form: str, kept: float, draw, encode) -> None:
    data = encode(draw(200, 150), form)
    assert "damaged image: " in refusal(data[: int(len(data) * kept)])


def test_the_damage_is_named(draw, encode) -> None:
    assert "damaged image: image file is truncated" in refusal(encode(draw(64, 48), "PNG")[:-600])


def test_a_header_followed_by_garbage() -> None:
    for start in (b"\xff\xd8\xff\xe0", PNG, b"II*\0", b"MM\0*", b"BM", b"GIF89a", b"RIFF\x40\0\0\0WEBPVP8 "):
        assert "damaged image: " in refusal(start + bytes(range(200)))


@pytest.mark.parametrize(("width", "height"), [(8000, 6251), (14000, 14000)])  # just over 50, and over Pillow's own 179
def test_a_decompression_bomb_of_zeros(width: int, height: int) -> None:
    rows = bytes(height * (1 + width // 8))
    data = bare_png(width, height, 1, 0, rows)
    assert len(data) < 100_000
    assert refusal(data) == "scan 7.png: more than 50 megapixels, not decoded: save a smaller version"


def test_a_bomb_is_refused_by_its_header_alone() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    assert "more than 50 megapixels" in refusal(PNG + header + chunk(b"IDAT", b"no pixels here"))


def test_fifty_megapixels_are_accepted() -> None:
    picture, _ = decode(bare_png(8000, 6250, 1, 0, bytes(6250 * 1001)), "whole slide")
    assert picture.size == (8000, 6250)


@pytest.mark.parametrize(("width", "height"), [(31, 400), (400, 31), (1, 1)])
def test_an_image_too_small_to_classify(width: int, height: int, draw, encode) -> None:
    assert f"{width}x{height} pixels are too few" in refusal(encode(draw(width, height)))


def test_thirty_two_pixels_a_side_are_accepted(draw, encode) -> None:
    assert decode(encode(draw(32, 32)), "small")[0].size == (32, 32)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_images_in_one_file(form: str, draw, encode) -> None:
    frames = [Image.fromarray(draw(64, 48)), Image.fromarray(255 - draw(64, 48)), Image.new("RGB", (64, 48))]
    assert "several images in one file" in refusal(encode(frames[0], form, save_all=True, append_images=frames[1:]))


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


@pytest.mark.parametrize(("depth", "grey"), [(1, 1), (2, 1), (4, 1), (4, 14), (16, 0x0001), (16, 0x0203)])
def test_a_transparent_grey_of_a_depth_that_pillow_misreads(depth: int, grey: int) -> None:
    rows = b"".join(b"\0" + bytes(range(64 * depth // 8)) for _ in range(64))
    image = bare_png(64, 64, depth, 0, rows, chunk(b"tRNS", struct.pack(">H", grey)))
    assert "has transparent parts" in refusal(image)


def test_a_grey_png_of_8_bits_may_name_a_transparent_level_that_no_pixel_has(encode) -> None:
    picture = np.arange(4096).astype(np.uint8).reshape(64, 64)
    picture[picture == 3] = 4
    plain, named = (encode(Image.fromarray(picture), **options) for options in ({}, {"transparency": 3}))
    tensors = [prepare(Source.of(data), ImageSpec(32)).tensor for data in (plain, named)]
    np.testing.assert_array_equal(*tensors)


@pytest.mark.parametrize("level", [3, 4])
def test_a_grey_gif_may_name_a_transparent_level_that_no_pixel_has(level: int, encode) -> None:
    """Unlike those of a PNG of 4 bits, its pixels are not scaled: 51 is not the level 3."""
    picture = np.arange(4096).astype(np.uint8).reshape(64, 64)
    picture[picture == 3] = 4
    data = encode(picture, "GIF", optimize=False)
    pixels = 13 + 3 * 256
    data = b"GIF89a" + data[6:pixels] + b"\x21\xf9\4\1\0\0" + bytes([level, 0]) + data[pixels:]
    if level == 3:
        assert np.array_equal(np.asarray(decode(data, "scan")[0])[:, :, 0], picture)
    else:
        assert "has transparent parts" in refusal(data)


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_a_float_array_is_refused_with_a_hint(scale: float) -> None:
    with pytest.raises(InputError, match=r"uint8\[H,W,3\] RGB, not float32\[64, 64, 3\] \(scale floats to 0..255"):
        prepare(Source.of(np.full((64, 64, 3), scale, np.float32)), ImageSpec(32))


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 4), (1, 64, 64, 3), (3, 64, 64), (0,)])
def test_an_array_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"array: an array must be uint8\[H,W,3\] RGB"):
        prepare(Source.of(np.zeros(shape, np.uint8)), ImageSpec(32))


@pytest.mark.parametrize("shape", [(64, 31, 3), (0, 64, 3)])
def test_an_array_too_small_to_classify(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="too few"):
        prepare(Source.of(np.zeros(shape, np.uint8)), ImageSpec(32))


def test_an_array_too_large_to_hold() -> None:
    endless = np.broadcast_to(np.uint8(0), (8000, 6251, 3))
    with pytest.raises(InputError, match="more than 50 megapixels"):
        prepare(Source.of(endless), ImageSpec(32))


def test_a_damaged_image_leaves_the_warning_filters_unchanged(draw, encode) -> None:
    before = list(warnings.filters)
    refusal(encode(draw(64, 48), "TIFF")[:-40])
    assert warnings.filters == before


def bare_tiff(*extra: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A TIFF's first directory with these extra entries (tag, type, count, value) and the offset of the next one."""
    usual = [(256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    entries = sorted([*usual, *extra])
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + struct.pack("<I", following)


def test_a_tiff_of_small_size_and_vast_tiles() -> None:
    """64x64 pixels, but reading them would unpack 2 GB."""
    squares = bare_tiff((322, 4, 1, 26_000), (323, 4, 1, 26_000), (324, 4, 1, 200), (325, 4, 1, 9))
    assert refusal(squares) == "scan 7.png: more than 50 megapixels, not decoded: save a smaller version"
    slivers = bare_tiff((322, 4, 1, 1), (323, 4, 1, 16_000_000), (324, 4, 1, 200), (325, 4, 1, 9))
    assert refusal(slivers) == "scan 7.png: more than 50 megapixels, not decoded: save a smaller version"


@pytest.mark.parametrize(("across", "down", "too_large"), [(10_000, 10_000, False), (114, 877_193, True)])
def test_tiles_may_hold_twice_as_many_pixels_as_an_image(across: int, down: int, too_large: bool) -> None:
    message = refusal(bare_tiff((322, 4, 1, across), (323, 4, 1, down), (324, 4, 1, 200), (325, 4, 1, 9)))
    assert ("more than 50 megapixels" if too_large else "damaged image") in message


@pytest.mark.parametrize("side", [0, 16, 256])
def test_tiles_of_usual_sizes_are_left_to_the_decoder(side: int) -> None:
    assert "damaged image: " in refusal(
        bare_tiff((322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, 200), (325, 4, 1, 9))
    )


def test_many_images_in_one_file_are_not_counted(draw, encode, python) -> None:
    """A chain of directories, and a film: counting the images would take minutes."""
    one = bare_tiff((273, 4, 1, 8), (278, 4, 1, 64), (279, 4, 1, 64))[8:-4]
    chain = b"".join(one + struct.pack("<I", 8 + (index + 1) * (len(one) + 4)) for index in range(200_000))
    film = encode(Image.fromarray(draw(64, 48)).quantize(8), "GIF")[:-1]
    film += (b"\x2c" + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0") * 2_000_000 + b";"
    for data in (b"II*\0\x08\0\0\0" + chain, film):
        result = python("-c", DECODE, input=data)
        assert result.stdout == b"stdin: several images in one file: save the one to classify as a still image\n"


def test_a_jpeg_of_many_scans(draw, encode) -> None:
    """A scan of a hundred bytes costs another pass over every pixel."""
    jpeg = encode(draw(64, 48), "JPEG", progressive=True)
    scans = [at for at in range(len(jpeg) - 1) if jpeg[at : at + 2] == b"\xff\xda"]
    again = jpeg[scans[-1] : -2]
    assert decode(jpeg[:-2] + again * (100 - len(scans)) + jpeg[-2:], "progressive")[0].size == (64, 48)
    too_many = jpeg[:-2] + again * (101 - len(scans)) + jpeg[-2:]
    assert refusal(too_many) == "scan 7.png: a JPEG with more than 100 scans, not decoded: save it again"


def test_what_only_looks_like_a_scan_is_not_counted(draw, encode) -> None:
    """In a comment, in a preview, and after the end, as in files that end with a film."""
    seeming = b"\xff\xda\0\x02" * 200
    jpeg = encode(draw(64, 48), "JPEG", comment=seeming, exif=b"Exif\0\0" + seeming)
    assert decode(jpeg + seeming, "photo")[0].size == (64, 48)


def test_only_a_jpeg_has_scans(encode) -> None:
    seeming = np.frombuffer(b"\xff\xda\0\x02" * 3072, np.uint8).reshape(64, 64, 3)
    assert decode(encode(seeming[:, :, ::-1], "BMP"), "scan")[0].size == (64, 64)  # stored as blue, green, red


def sharing(size: int, order: str = "<", tags: int = 5000, first: int = 8, *, exchanged: bool = False) -> bytes:
    """A directory whose tags share the same `size` bytes, as at the start of a TIFF file or an EXIF block."""
    at = first + 2 + 12 * tags + 4
    entries = b"".join(struct.pack(f"{order}HHII", 1000 + number, 1, size, at) for number in range(tags))
    head = {"<": b"II\0*" if exchanged else b"II*\0", ">": b"MM*\0" if exchanged else b"MM\0*"}[order] + struct.pack(
        f"{order}I", first
    )
    return head.ljust(first, b"\0") + struct.pack(f"{order}H", tags) + entries + bytes(4 + size)


OVERLAPPING_TAGS = "scan 7.png: corrupt tags, which reference more bytes than the file has"


@pytest.mark.parametrize("exchanged", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_tags_that_share_the_same_bytes(order: str, exchanged: bool, draw, encode) -> None:
    """Older Pillows turn this megabyte into five gigabytes: as a TIFF, and as EXIF."""
    tiff = sharing(1_000_000, order, exchanged=exchanged)
    assert refusal(tiff) == OVERLAPPING_TAGS
    assert refusal(encode(draw(64, 48), "PNG", exif=tiff)) == OVERLAPPING_TAGS
    assert refusal(encode(draw(64, 48), "WEBP", exif=tiff)) == OVERLAPPING_TAGS
    assert refusal(encode(draw(64, 48), "JPEG", exif=b"Exif\0\0" + sharing(5000, order, tags=4000))) == OVERLAPPING_TAGS


def test_such_tags_in_a_linked_directory() -> None:
    """Tag 0x8825 links to that directory; or to its own, without end."""
    lead = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8825, 4, 1, 40, 0)
    assert refusal(lead.ljust(40, b"\0") + sharing(1_000_000, first=40)[40:]) == OVERLAPPING_TAGS
    assert refusal(b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8825, 4, 1, 8, 0)) == OVERLAPPING_TAGS


def test_a_file_with_only_headers(python) -> None:
    result = python("-c", DECODE, input=b"MM\0*" * 20_000_000)
    assert result.stdout == OVERLAPPING_TAGS.replace("scan 7.png", "stdin").encode() + b"\n", result.stderr


def test_ordinary_tags_are_accepted(draw, encode) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x010E] = "maker", "a" * 3000
    exif.get_ifd(0x8769)[0x927C], exif.get_ifd(0x8825)[2] = bytes(30_000), (52.0, 31.0, 12.0)
    for form in ("JPEG", "PNG", "WEBP", "TIFF"):
        assert decode(encode(draw(64, 48), form, exif=exif), "photo")[0].size == (64, 48), form


def test_exif_packed_as_text_is_read_up_to_a_size_limit(draw, encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    small = len(exif.tobytes())
    for size, orientation in (
        (small, 6),
        (65_530, 6),
        (65_531, 1),
        (70_000, 1),
    ):  # 65,530 bytes make 131,072 characters
        digits = exif.tobytes().ljust(size, b"\0").hex()
        text = b"Raw profile type exif\0\0" + zlib.compress(f"\nexif\n{len(digits) // 2}\n{digits}".encode())
        png = encode(draw(64, 48))
        assert decode(png[:33] + chunk(b"zTXt", text) + png[33:], "photo")[1] == orientation


def run_length_bmp(width: int, height: int, runs: bytes) -> bytes:
    """A run-length encoded grey BMP, which Pillow cannot write."""
    palette = b"".join(bytes([level, level, level, 0]) for level in range(256))
    first = 14 + 40 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", first + len(runs), 0, 0, first) + header + palette + runs


def test_a_run_length_encoded_bmp_is_accepted_up_to_four_megapixels() -> None:
    """Fuzzing found one of 300 bytes that took seconds: Pillow fills the ends of lines byte by byte, in Python."""
    rows = b"".join(bytes([40, level, 0, 0]) for level in range(32))  # from the bottom up
    picture, _ = decode(run_length_bmp(40, 32, rows + b"\0\1"), "scan")
    assert np.array_equal(np.asarray(picture)[::-1, 7, 0], np.arange(32))
    assert "damaged image" in refusal(run_length_bmp(2000, 2000, b"\1\5"))
    assert "more than 4 megapixels" in refusal(run_length_bmp(2000, 2001, b"\1\5"))
    vast = run_length_bmp(524_328, 40, b"\1\5" + b"\0\0" * 40)
    assert refusal(vast) == "scan 7.png: a run-length encoded BMP of more than 4 megapixels: save as PNG"
