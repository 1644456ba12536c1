"""Which images are decoded: limits of their size, and of what a small file may cost its decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from spot_edge.errors import InputError
from spot_edge.image.formats import has_overlapping_tags, joined_exif

if TYPE_CHECKING:
    from PIL import Image

    from spot_edge.image.structure import JpegScans

__all__ = [
    "MAX_PIXELS",
    "MAX_SCANS",
    "MAX_STRIPS",
    "SMALLEST_SIDE",
    "check_decoding_cost",
    "check_pixels",
    "check_size",
    "check_tags",
    "lacks_memory",
    "split_exif",
]

MAX_PIXELS = 50_000_000
MAX_RUNS = 4_000_000  # pixels of a run-length encoded BMP: Pillow decodes these in Python
MAX_PASSES = 1_000_000_000  # pixels of a JPEG times its scans: two seconds
MAX_SCANS = 100  # of a JPEG: each may touch every pixel; progressive images have about ten
MAX_EXIF_SEGMENTS = 16  # of a JPEG
MAX_STRIPS = 50_000  # of a TIFF: strips, tiles or values of any other numeric tag
SMALLEST_SIDE = 32

_BITS, _PHOTOMETRIC, _BLACK_IS_ZERO = 258, 262, 1  # TIFF tags, and the value that Pillow assumes
_TILE_WIDTH, _TILE_LENGTH, _STRIP_ROWS = 322, 323, 278
_STRIP_STARTS, _STRIP_SIZES, _TILE_STARTS, _TILE_SIZES = 273, 279, 324, 325
_COMPRESSION, _JPEG_IN_TIFF = 259, 7
_MOST_HEADERS = 65_536  # bytes of a BMP before its pixels
_PER_PIXEL = 8  # bytes that decoding takes at most, about


def lacks_memory(width: int, height: int) -> bool:
    """Whether there is too little memory to decode such an image: some decoders call that a damaged file."""
    try:
        np.empty(_PER_PIXEL * width * height, np.uint8)
    except MemoryError:
        return True
    return False


def check_pixels(image: Image.Image, name: str) -> None:
    """Reject an opened image that is too large, animated or of unknown pixel values."""
    check_size(image.width, image.height, name)
    several = getattr(image, "is_animated", False)
    if several and (image.format != "MPO" or image.tell()):  # not n_frames, which reads all of them
        raise InputError(f"{name}: several images in one file: save the one to classify as a still image")
    if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
        raise InputError(f"{name}: 32-bit pixels of unknown range: save as an 8-bit image")
    if image.format == "TIFF" and image.mode.startswith("I;"):
        tags = image.tag_v2  # type: ignore[attr-defined]
        if tags.get(_BITS) != (16,) or tags.get(_PHOTOMETRIC) != _BLACK_IS_ZERO:
            raise InputError(f"{name}: gray values in an unusual range (12 bits, or white is zero): save as 8-bit")


def check_decoding_cost(image: Image.Image, scans: JpegScans | None, data: bytes, name: str) -> None:
    """Reject a small file that would take its decoder minutes or gigabytes."""
    if scans and scans.number > min(MAX_SCANS, MAX_PASSES // (image.width * image.height)):
        most = f"more than {MAX_SCANS}" if scans.number > MAX_SCANS else f"{scans.number}"
        size = "" if scans.number > MAX_SCANS else " of this size"
        raise InputError(f"{name}: a JPEG{size} with {most} scans, not decoded: save it again")
    if image.format == "TIFF":
        _check_strips(image, data, name)
    if image.format == "BMP" and "bmp_rle" in [part[0] for part in image.tile]:  # type: ignore[attr-defined]
        pixels = image.width * image.height
        if pixels > MAX_RUNS:
            raise InputError(
                f"{name}: a run-length encoded BMP of more than {MAX_RUNS // 1_000_000} megapixels: save as PNG"
            )
        if len(data) > 2 * (pixels + image.height) + _MOST_HEADERS:  # runs of one pixel take two bytes
            raise InputError(f"{name}: a run-length encoded BMP with more runs than pixels: save as PNG")


def _check_strips(image: Image.Image, data: bytes, name: str) -> None:
    """Reject a TIFF of vast tiles, of many small tiles or strips, or of JPEGs with many scans."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    across, down = tags.get(_TILE_WIDTH) or image.width, tags.get(_TILE_LENGTH) or tags.get(_STRIP_ROWS) or image.height
    columns, rows = -(image.width // -across), -(image.height // -min(down, 2**31))
    if _TILE_WIDTH in tags and columns * across * rows * down > 2 * MAX_PIXELS:
        raise _too_large(name)
    if columns * rows > MAX_STRIPS:
        raise InputError(f"{name}: a TIFF with more than {MAX_STRIPS} strips or tiles, not decoded: save it again")
    if tags.get(_COMPRESSION) == _JPEG_IN_TIFF:
        starts = tags.get(_TILE_STARTS) or tags.get(_STRIP_STARTS) or ()
        sizes = [size or len(data) for size in tags.get(_TILE_SIZES) or tags.get(_STRIP_SIZES) or (0,) * len(starts)]
        overlap = sum(sizes) > 2 * len(data)
        scans = 0 if overlap else sum(data.count(b"\xff\xda", *at) for at in _ranges(starts, sizes))
        if overlap or scans * across * min(down, image.height) > MAX_PASSES:
            raise InputError(f"{name}: a TIFF of JPEGs with many scans, not decoded: save it again")


def _ranges(starts: Sequence[int], sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    return ((start, start + size) for start, size in zip(starts, sizes, strict=False))


def split_exif(data: bytes, end: int, name: str) -> bytes | None:
    """The EXIF of a JPEG if it is split over several segments, which start before `end`; otherwise None."""
    parts = joined_exif(data, end)
    if len(parts) < 2:
        return None
    exif = b"".join(parts)
    check_tags(exif, len(exif), name)
    if len(parts) > MAX_EXIF_SEGMENTS:
        raise InputError(f"{name}: a JPEG with more than {MAX_EXIF_SEGMENTS} EXIF segments, not decoded: save it again")
    return exif


def check_tags(data: bytes, end: int, name: str) -> None:
    """Reject a small file whose tags, which start before `end`, would take gigabytes when it is opened."""
    heads = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0")  # of a TIFF, or of EXIF; `find` finds them fast
    if any(data.find(head, 0, end) >= 0 for head in heads) and has_overlapping_tags(data, end):
        raise InputError(f"{name}: corrupt tags, which reference more bytes than the file has")


def check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise _too_large(name)
    if min(width, height) < SMALLEST_SIDE:
        raise InputError(f"{name}: {width}x{height} pixels are too few: need at least {SMALLEST_SIDE} per side")


def _too_large(name: str) -> InputError:
    return InputError(f"{name}: more than {MAX_PIXELS // 1_000_000} megapixels, not decoded: save a smaller version")
