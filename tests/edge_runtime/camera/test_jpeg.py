"""Frames as drivers deliver them: JPEGs padded, cut short or without tables, and YUYV in all its colours."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from spot_edge.camera.focus import read_quality
from spot_edge.camera.frames import Yuyv, complete_jpeg, encode


@pytest.fixture(scope="module")
def jpegs(draw, encode) -> dict[str, bytes]:
    """One image in each form of JPEG; one form has a preview, a complete JPEG, in its EXIF."""
    picture, preview = draw(160, 120), encode(draw(40, 30), "JPEG")
    return {
        "baseline": encode(picture, "JPEG"),
        "progressive": encode(picture, "JPEG", progressive=True),
        "optimized": encode(picture, "JPEG", optimize=True),
        "grey": encode(Image.fromarray(picture).convert("L"), "JPEG"),
        "preview": encode(picture, "JPEG", exif=b"Exif\0\0" + preview),
        "comment": encode(picture, "JPEG", comment=b"\xff\xd9 not yet \xff\xd8\xff"),
    }


FORMS = ["baseline", "progressive", "optimized", "grey", "preview", "comment"]


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def without_tables(jpeg: bytes) -> bytes:
    """`jpeg` without its Huffman tables, as many cameras send it in Motion-JPEG."""
    found, at = jpeg[:2], 2
    while jpeg[at + 1] != 0xDA:
        length = 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if jpeg[at + 1] != 0xC4:
            found += jpeg[at : at + length]
        at += length
    return found + jpeg[at:]


@pytest.mark.parametrize("form", FORMS)
def test_a_complete_jpeg_stays_as_it_is(form: str, jpegs) -> None:
    assert complete_jpeg(jpegs[form]) == jpegs[form]


@pytest.mark.parametrize("form", FORMS)
def test_bytes_before_and_after_the_jpeg_are_dropped(form: str, jpegs) -> None:
    jpeg = jpegs[form]
    assert complete_jpeg(jpeg + bytes(1_228_800 - len(jpeg))) == jpeg
    assert complete_jpeg(b"\0\xff\xd8\0" + jpeg + jpegs["optimized"]) == jpeg


@pytest.mark.parametrize("form", FORMS)
def test_a_jpeg_cut_anywhere_is_rejected(form: str, jpegs) -> None:
    for kept in range(len(jpegs[form])):
        with pytest.raises(ValueError, match=r"empty|no JPEG|truncated|damaged"):
            complete_jpeg(jpegs[form][:kept])


def test_a_cut_jpeg_in_a_cleared_buffer_is_rejected(jpegs) -> None:
    jpeg = jpegs["baseline"]
    for kept in range(0, len(jpeg) - 2, 7):
        with pytest.raises(ValueError, match=r"no JPEG|truncated|damaged"):
            complete_jpeg(jpeg[:kept] + bytes(5000))


def test_a_jpeg_cut_by_the_next_one_is_rejected(jpegs) -> None:
    with pytest.raises(ValueError, match="damaged"):
        complete_jpeg(jpegs["baseline"][:-300] + jpegs["baseline"])


def test_noise_is_always_rejected() -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        with pytest.raises(ValueError, match=r"no JPEG|truncated|damaged"):
            complete_jpeg(b"\xff\xd8\xff" + random.integers(0, 256, 400, np.uint8).tobytes())


def test_motion_jpeg_without_tables_gets_the_standard_ones(jpegs) -> None:
    bare = without_tables(jpegs["baseline"])
    assert len(bare) < len(jpegs["baseline"]) - 400
    assert b"\xff\xc4" in complete_jpeg(bare + bytes(100))
    assert np.array_equal(pixels(complete_jpeg(bare)), pixels(jpegs["baseline"]))


def test_encoding_changes_the_pixels_little(draw) -> None:
    picture = draw(160, 120)
    assert np.abs(pixels(encode(Image.fromarray(picture))).astype(int) - picture).mean() < 2


# BT.601 in its limited range: what a camera sends for these colours
COLOURS = {
    (255, 255, 255): (235, 128, 128),
    (0, 0, 0): (16, 128, 128),
    (255, 0, 0): (81, 90, 240),
    (0, 255, 0): (145, 54, 34),
    (0, 0, 255): (41, 240, 110),
    (128, 128, 128): (126, 128, 128),
}


@pytest.mark.parametrize(("rgb", "yuv"), COLOURS.items())
def test_colours_follow_bt_601(rgb: tuple[int, int, int], yuv: tuple[int, int, int]) -> None:
    y, u, v = yuv
    picture = Yuyv(4, 2, 8).to_rgb(bytes([y, u, y, v] * 4))
    assert picture.size == (4, 2)
    assert np.abs(np.asarray(picture).astype(int) - rgb).max() <= 2


def test_the_colour_space_of_the_driver_is_used() -> None:
    red_709, red_full = bytes([63, 102, 63, 240]), bytes([76, 85, 76, 255])
    for kind, data in ((Yuyv(2, 1, 4, colorspace=3), red_709), (Yuyv(2, 1, 4, encoding=2), red_709)):
        assert np.abs(np.asarray(kind.to_rgb(data)).astype(int) - (255, 0, 0)).max() <= 2
    for kind in (Yuyv(2, 1, 4, colorspace=7), Yuyv(2, 1, 4, quantization=1)):
        assert np.abs(np.asarray(kind.to_rgb(red_full)).astype(int) - (255, 0, 0)).max() <= 2


def test_lines_may_be_padded_and_of_odd_width() -> None:
    line = bytes([81, 90, 81, 240] * 2) + b"\xaa" * 8
    assert np.asarray(Yuyv(5, 3, 16).to_rgb(line * 3 + b"rest")).shape == (3, 4, 3)
    assert np.abs(np.asarray(Yuyv(4, 3, 16).to_rgb(line * 3)).astype(int) - (255, 0, 0)).max() <= 2


def test_a_short_frame_is_rejected() -> None:
    with pytest.raises(ValueError, match="truncated: 15 of 16 bytes"):
        Yuyv(4, 2, 8).to_rgb(bytes(15))


def test_a_sharper_image_reads_sharper_and_exposure_is_reported(draw) -> None:
    sharp = Image.fromarray(draw(160, 120))
    soft = sharp.resize((40, 30), Image.Resampling.BOX).resize((160, 120), Image.Resampling.BICUBIC)
    assert read_quality(sharp).sharpness > 2 * read_quality(soft).sharpness
    for level, dark, bright in ((0, 1, 0), (255, 0, 1), (128, 0, 0)):
        reading = read_quality(Image.new("RGB", (64, 48), (level, level, level)))
        assert (reading.too_dark, reading.too_bright, reading.brightness) == (dark, bright, level)


def test_a_buffer_full_of_ones_is_searched_once(jpegs, python) -> None:
    """Every byte of this scan may begin a marker. A new search from each of them would take hours."""
    start = jpegs["baseline"][:700]
    assert b"\xff\xda" in start
    program = "import sys; from spot_edge.camera.frames import complete_jpeg; complete_jpeg(sys.stdin.buffer.read())"
    result = python("-c", program, input=start + b"\xff" * 8_000_000 + b"\0" + jpegs["baseline"][700:])
    assert result.returncode == 0, result.stderr
