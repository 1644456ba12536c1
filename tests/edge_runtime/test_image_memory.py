"""How much memory an image file needs is estimated from its header."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spot_edge.image.memory import decoding_memory
from spot_edge.image.tensor import decode

PIXELS = 300 * 201
LARGEST = 16.5 * 50_000_000
PLAIN, OTHERS, WEBP = 8.5, 12.5, 16.5
KINDS = {
    "JPEG": ("JPEG", "RGB", {}, PLAIN),
    "grey JPEG": ("JPEG", "L", {}, PLAIN),
    "JPEG with EXIF": ("JPEG", "RGB", {"exif": b"Exif\0\0" + bytes(60_000)}, PLAIN),
    "JPEG with a profile": ("JPEG", "RGB", {"icc_profile": bytes(200_000)}, OTHERS),
    "CMYK JPEG": ("JPEG", "CMYK", {}, OTHERS),
    "progressive JPEG": ("JPEG", "RGB", {"progressive": True}, OTHERS),
    "PNG": ("PNG", "RGB", {}, OTHERS),
    "lossless WebP": ("WEBP", "RGB", {"lossless": True}, WEBP),
    "WebP": ("WEBP", "RGB", {}, WEBP),
    "WebP with EXIF": ("WEBP", "RGB", {"exif": b"Exif\0\0II"}, WEBP),
    "WebP with alpha": ("WEBP", "RGBA", {}, WEBP),
    "GIF": ("GIF", "P", {}, OTHERS),
    "GIF with a comment": ("GIF", "P", {"comment": b"c" * 9_000}, OTHERS),
    "TIFF": ("TIFF", "RGB", {}, OTHERS),
    "compressed TIFF": ("TIFF", "L", {"compression": "tiff_lzw"}, OTHERS),
    "BMP": ("BMP", "RGB", {}, OTHERS),
}


def size_of(data: bytes, folder: Path) -> int:
    path = folder / "image"
    path.write_bytes(data)
    return decoding_memory(str(path))


@pytest.mark.parametrize("kind", KINDS)
def test_the_memory_follows_from_the_pixels(kind: str, draw, encode, tmp_path) -> None:
    form, mode, options, each = KINDS[kind]
    data = encode(Image.fromarray(draw(300, 201)).convert(mode), form, **options)
    assert decode(data, "x")[0].size == (300, 201)
    assert size_of(data, tmp_path) == len(data) + int(each * PIXELS)


def test_a_small_file_of_many_pixels_counts_its_pixels(encode, tmp_path) -> None:
    data = encode(Image.new("RGB", (4000, 3000)), "WEBP", lossless=True, quality=0, method=0)
    assert len(data) < 1000
    assert size_of(data, tmp_path) == len(data) + int(WEBP * 12_000_000)


def test_the_first_image_may_enlarge_a_gif(draw, encode, tmp_path) -> None:
    data = encode(Image.fromarray(draw(300, 201)).quantize(8), "GIF")
    smaller = data[:6] + struct.pack("<HH", 40, 40) + data[10:]
    assert decode(smaller, "x")[0].size == (300, 201)
    assert size_of(smaller, tmp_path) == len(data) + int(OTHERS * PIXELS)


def test_big_endian_tiffs_and_old_bitmaps_are_read(tmp_path) -> None:
    tags = struct.pack(">HHIHH", 256, 3, 1, 300, 0) + struct.pack(">HHII", 257, 4, 1, 201)
    tiff = b"MM\0*" + struct.pack(">IH", 8, 2) + tags
    assert size_of(tiff, tmp_path) == len(tiff) + int(OTHERS * PIXELS)
    old = b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 300, 201, 1, 24)
    assert size_of(old, tmp_path) == len(old) + int(OTHERS * PIXELS)
    upside_down = b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 300, -201, 1, 24)
    assert size_of(upside_down, tmp_path) == len(upside_down) + int(OTHERS * PIXELS)


@pytest.mark.parametrize(
    "start", [b"\xff\xd8\xff", b"\xff\xd8\xff\xff\xe0\0\2" + bytes(90), b"RIFF\0\0\0\0WEBPodd ", b"GIF89a"]
)
@pytest.mark.parametrize("more", [b"", bytes(40)])
def test_an_unknown_header_counts_as_the_largest_image(start: bytes, more: bytes, tmp_path) -> None:
    size = size_of(start + more, tmp_path)
    assert size == int(LARGEST) + len(start + more)


def test_every_beginning_of_a_file_has_an_estimate(draw, encode, tmp_path) -> None:
    for form, mode, options, _ in KINDS.values():
        data = encode(Image.fromarray(draw(40, 33)).convert(mode), form, **options)
        for length in range(0, 200, 11):
            assert 0 <= size_of(data[:length], tmp_path) <= LARGEST + length


def test_more_pixels_than_are_decoded_count_as_the_most(tmp_path) -> None:
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 60_000, 60_000)
    assert size_of(png, tmp_path) == len(png) + int(OTHERS * 50_000_000)


def test_what_is_no_image_counts_as_its_bytes(tmp_path) -> None:
    assert size_of(b"a text", tmp_path) == 6
    assert size_of(b"", tmp_path) == 0
    assert decoding_memory(str(tmp_path / "gone")) == 0
    assert decoding_memory("a\0b") == 0


def test_a_pipe_is_not_read(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert decoding_memory(str(tmp_path / "pipe")) == int(LARGEST)


def test_a_jpeg_whose_size_comes_late_is_read(draw, encode, tmp_path) -> None:
    data = encode(draw(300, 201), "JPEG")
    late = data[:2] + (b"\xff\xed\xff\xff" + bytes(65_533)) * 20 + data[2:]
    assert size_of(late, tmp_path) == len(late) + int(PLAIN * PIXELS)
    assert np.asarray(decode(late, "x")[0]).shape == (201, 300, 3)


GUARDED = """
import sys
import spot_edge.commands.classify
from spot_edge.commands import workers
from spot_edge.image.inputs import Found
from spot_edge.image.source import Source
from spot_edge.image.tensor import prepare
from spot_edge.model.spec import ImageSpec

classify_module = sys.modules["spot_edge.commands.classify"]
workers.available_memory = lambda: 100_000_000
found = [Found(sys.argv[1], "image")] * 6
before = peak()
work = lambda each: prepare(Source.of(each.path), ImageSpec(64)).tensor.sum()
sums = list(workers.in_order(found, [work] * 4, classify_module._size))
print(len(sums), peak() - before)
"""


def test_threads_do_not_decode_large_images_of_small_files_together(encode, tmp_path, python, peak) -> None:
    path = tmp_path / "large.webp"
    path.write_bytes(encode(Image.new("RGB", (4000, 3000)), "WEBP", lossless=True, quality=0, method=0))
    done = python("-c", peak + GUARDED, path)
    assert done.returncode == 0, done.stderr
    count, kilobytes = map(int, done.stdout.split())
    assert count == 6
    assert 12_000_000 * 8 < 1000 * kilobytes < 1.3 * decoding_memory(str(path))
