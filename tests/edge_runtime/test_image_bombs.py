"""Files of a few megabytes that would take Pillow minutes or gigabytes are refused in a moment."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spot_edge.errors import InputError
from spot_edge.image.tensor import decode

PNG = b"\x89PNG\r\n\x1a\n"
Maker = Callable[[Callable[..., Any], Callable[..., bytes]], bytes]


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def segment(kind: int, content: bytes = b"") -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(content) + 2) + content


def jpeg_with(extra: bytes, at: int = 2) -> Maker:
    def make(draw, encode) -> bytes:
        jpeg = encode(draw(64, 48), "JPEG")
        return jpeg[:at] + extra + jpeg[at:]

    return make


def png_with(before: bytes = b"", after: bytes = b"") -> Maker:
    def make(draw, encode) -> bytes:
        png = encode(draw(64, 48))
        return png[:33] + before + png[33:-12] + after + png[-12:]

    return make


def gif_with(before: bytes = b"", after: bytes = b"") -> Maker:
    def make(draw, encode) -> bytes:
        gif = encode(Image.fromarray(draw(64, 48)).quantize(8), "GIF")
        at = 13 + (3 << (gif[10] & 7) + 1)
        return gif[:at] + before + gif[at:-1] + after + gif[-1:]

    return make


def gif_of_small_blocks(draw, encode) -> bytes:
    """Two million blocks of one byte, after all that the decoder needs."""
    gif = encode(Image.fromarray(draw(64, 48)).quantize(8), "GIF")
    return gif[:-2] + b"\1\0" * 2_000_000 + b"\0;"


def tiff(width: int, height: int, tags: dict[int, tuple[int, int, int]], content: bytes) -> bytes:
    """A grey TIFF with these tags (type, count, value), whose directory follows `content`."""
    usual = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1)}
    entries = sorted((usual | tags).items())
    packed = b"".join(struct.pack("<HHII", tag, *rest) for tag, rest in entries)
    directory = struct.pack("<H", len(entries)) + packed + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(content)) + content + directory


def tiff_of_tiles(count: int, compression: int = 1) -> Maker:
    def make(draw, encode) -> bytes:
        offsets = np.full(count, 8, "<u4").tobytes()
        side = int(count**0.5)
        tags = {322: (4, 1, 1), 323: (4, 1, 1), 324: (4, count, 8), 325: (4, count, 8), 259: (3, 1, compression)}
        return tiff(side, count // side, tags, offsets)

    return make


def tiff_of_strips(draw, encode) -> bytes:
    count = 1_000_000
    tags = {273: (4, count, 8), 278: (4, 1, 1), 279: (4, count, 8)}
    return tiff(40, count, tags, np.full(count, 8, "<u4").tobytes())


def tiff_of_missing_tiles(draw, encode) -> bytes:
    """Sixteen million tiles, and offsets for two of them."""
    tags = {322: (4, 1, 1), 323: (4, 1, 1), 324: (4, 2, 8), 325: (4, 2, 8), 259: (3, 1, 8)}
    return tiff(4000, 4000, tags, bytes(8))


def tiff_of_depths(draw, encode) -> bytes:
    """Eight million bits per sample."""
    tags = {258: (3, 8_000_000, 8), 273: (4, 1, 8), 278: (4, 1, 64), 279: (4, 1, 4096)}
    return tiff(64, 64, tags, bytes(16_000_000))


def scans_of_a_large_jpeg(draw, encode) -> bytes:
    jpeg = encode(Image.new("L", (8000, 6000)), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * 80 + jpeg[-2:]


def scans_in_a_tiff(strips: int, *, sizes: bool = True) -> Maker:
    """Every strip is the same JPEG of 60 scans."""

    def make(draw, encode) -> bytes:
        rows = 6000 // strips
        jpeg = encode(Image.new("L", (8000, rows)), "JPEG", progressive=True)
        last = jpeg.rindex(b"\xff\xda")
        jpeg = jpeg[:-2] + jpeg[last:-2] * 54 + jpeg[-2:]
        starts = np.full(strips, 8 + 8 * strips, "<u4").tobytes()
        lengths = np.full(strips, len(jpeg), "<u4").tobytes()
        one = strips == 1
        tags = {259: (3, 1, 7), 273: (4, strips, 16 if one else 8), 278: (4, 1, rows)}
        if sizes:
            tags[279] = (4, strips, len(jpeg) if one else 8 + 4 * strips)
        return tiff(8000, 6000, tags, starts + lengths + jpeg)

    return make


def run_length_bmp(runs: bytes) -> Maker:
    def make(draw, encode) -> bytes:
        palette = bytes(1024)
        first = 14 + 40 + len(palette)
        header = struct.pack("<IiiHHIIiiII", 40, 2000, 2000, 1, 8, 1, len(runs), 0, 0, 256, 0)
        return b"BM" + struct.pack("<IHHI", first + len(runs), 0, 0, first) + header + palette + runs

    return make


def profiles_of_a_png(draw, encode) -> bytes:
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(1_000_000), 9))
    return png_with(profile * 3_000)(draw, encode)


def texts_of_a_png(draw, encode) -> bytes:
    """Each inflates to a megabyte and ends in an error, which Pillow does not count."""
    broken = zlib.compress(bytes(1_000_000), 9)[:-4] + b"oops"
    return png_with(chunk(b"zTXt", b"t\0\0" + broken) * 1_900)(draw, encode)


RESOURCES = b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\0" * 5_000
BOMBS: dict[str, Maker] = {
    "JPEG, empty APP5 segments": jpeg_with(segment(0xE5) * 2_000_000),
    "JPEG, empty comments": jpeg_with(segment(0xFE) * 2_000_000),
    "JPEG, comments after a fill byte": jpeg_with(b"\xff" + segment(0xFE) * 2_000_000),
    "JPEG, starts of images": jpeg_with(b"\xff\xd8" * 4_000_000),
    "JPEG, fill bytes": jpeg_with(b"\xff" * 8_000_000),
    "JPEG, junk": jpeg_with(bytes(8_000_000), 20),
    "JPEG, junk and no end": lambda draw, encode: b"\xff\xd8\xff\xe0\0\2" + bytes(8_000_000),
    "JPEG, restarts": jpeg_with(b"\xff\xd0" * 4_000_000),
    "JPEG, quantization tables": jpeg_with(segment(0xDB, (b"\0" + bytes([1]) * 64) * 1_000) * 400),
    "JPEG, resources": jpeg_with(segment(0xED, RESOURCES) * 500),
    "JPEG, EXIF in parts": jpeg_with(segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 480),
    "JPEG, scans times pixels": scans_of_a_large_jpeg,
    "PNG, chunks before the pixels": png_with(chunk(b"spOt") * 1_000_000),
    "PNG, chunks after the pixels": png_with(after=chunk(b"spOt") * 1_000_000),
    "PNG, empty pixels": png_with(chunk(b"IDAT") * 1_000_000),
    "PNG, profiles": profiles_of_a_png,
    "PNG, texts": texts_of_a_png,
    "GIF, comment of single bytes": gif_with(b"!\xfe" + b"\1c" * 1_000_000 + b"\0"),
    "GIF, comments": gif_with(b"!\xfe\1c\0" * 1_000_000),
    "GIF, comments after the pixels": gif_with(after=b"!\xfe\1c\0" * 1_000_000),
    "GIF, junk": gif_with(bytes(8_000_000)),
    "GIF, junk after the pixels": gif_with(after=bytes(8_000_000)),
    "GIF, small blocks": gif_of_small_blocks,
    "TIFF, tiles": tiff_of_tiles(2_000_000),
    "TIFF, deflated tiles": tiff_of_tiles(2_000_000, 8),
    "TIFF, missing tiles": tiff_of_missing_tiles,
    "TIFF, strips": tiff_of_strips,
    "TIFF, scans": scans_in_a_tiff(1),
    "TIFF, scans shared by strips": scans_in_a_tiff(8),
    "TIFF, scans of an unknown size": scans_in_a_tiff(1, sizes=False),
    "BMP, empty runs": run_length_bmp(b"\0\5" * 50 + b"\0\0" * 14_000_000),
    "TIFF, bits per sample": tiff_of_depths,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_in_a_moment(bomb: str, draw, encode) -> None:
    data = BOMBS[bomb](draw, encode)
    assert len(data) < 32 << 20
    start = time.thread_time()
    with pytest.raises(InputError) as refused:
        decode(data, "bomb")
    assert time.thread_time() - start < 1  # processor time of this thread alone: other work does not count
    assert str(refused.value).startswith("bomb: ")
    assert "damaged image" not in str(refused.value) or "occurs twice" in str(refused.value)


@pytest.mark.parametrize("options", [{}, {"strip_size": 2000}, {"quality": 95}])
def test_an_ordinary_tiff_of_jpegs_is_accepted(options: dict[str, int], draw, encode) -> None:
    data = encode(draw(300, 201), "TIFF", compression="jpeg", **options)
    assert decode(data, "scan")[0].size == (300, 201)


def test_runs_of_single_pixels_are_accepted() -> None:
    runs = (b"\1\5" * 2000 + b"\0\0") * 2000 + b"\0\1"
    assert decode(run_length_bmp(runs)(None, None), "scan")[0].size == (2000, 2000)


def test_only_unusual_files_are_examined_block_by_block(python, tmp_path, draw, encode) -> None:
    """That code is slow to import: a usual JPEG does without it, as it is too short before its pixels to be abused."""
    image = encode(draw(120, 90), "JPEG")
    files = {"usual.jpg": image, "long.jpg": image[:2] + segment(0xE5, bytes(8_000)) + image[2:]}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    script = (
        "import sys; from spot_edge.classifier import Classifier; from spot_edge.image.source import Source\n"
        "from spot_edge.image.tensor import decode\n"
        "decode(Source.of(sys.argv[1]).read(), 'x')\n"
        "print(sorted(name for name in ('structure', 'memory') if f'spot_edge.image.{name}' in sys.modules))"
    )
    loaded = [python("-c", script, tmp_path / name).stdout.strip() for name in files]
    assert loaded == [b"[]", b"['structure']"]


def test_segments_up_to_the_limit_are_accepted(draw, encode) -> None:
    for count in (1_800, 1_990):  # just shorter and longer than what counts as a short start
        decode(jpeg_with(segment(0xE5) * count)(draw, encode), "x")
    with pytest.raises(InputError, match="more than 2000 segments"):
        decode(jpeg_with(segment(0xE5) * 2_000)(draw, encode), "x")
