"""Turn an image into the tensor `uint8[1,S,S,3]` that the network reads.

Steps: decode (large JPEGs at a reduced size, if the model file says so), rotate upright by EXIF, convert to 8-bit sRGB,
crop and resize as the model file says. Pixel scaling is part of the network. An image that cannot be classified
reliably raises an InputError that names it.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image, ImageFile

from spot_edge.errors import InputError, first_line
from spot_edge.image.color import to_rgb
from spot_edge.image.formats import JpegStart, open_image, read_jpeg_start, webp_size, without_end
from spot_edge.image.limits import (
    check_decoding_cost,
    check_pixels,
    check_size,
    check_tags,
    lacks_memory,
    split_exif,
)
from spot_edge.image.source import Source, is_opened
from spot_edge.model.spec import ImageSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Prepared", "decode", "prepare", "reduction_of", "to_tensor"]

# Aspect ratios (width to height) in this range are stretched to the square. Others are cropped to 4:3 first.
STRETCHED = (1.2, 1.5)

_SHORT_START = 8_000  # bytes of usual segments before the only scan of a JPEG: too few to be abused
_REDUCTIONS = (8, 4, 2)  # a JPEG decoder can divide both sides by these
_FINEST = 3  # a reduced image has at least this many pixels for each one of the network's input, per side

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PREMULTIPLIED = {"RGBa": "RGBA", "La": "LA"}  # modes whose colors are scaled by alpha
_ON_THE_SIDE = 5  # from this orientation on, width and height are swapped
_ORIENTATION = 0x0112
_PACKED_EXIF = "Raw profile type exif"  # compressed hexadecimal digits, as ImageMagick writes them into PNGs
_LONGEST_EXIF = 65_536  # bytes
_XMP = ("xmp", "XML:com.adobe.xmp")
_muting = threading.Lock()  # warnings.catch_warnings is not safe across threads


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decoded image, its tensor, and how it was made."""

    source: Source
    spec: ImageSpec
    tensor: NDArray[np.uint8] = field(repr=False)
    image: Image.Image = field(repr=False)  # upright 8-bit sRGB, before the crop; its sides are divided by `reduction`
    orientation: int  # from EXIF; 1 if there is none
    crop: tuple[int, int, int, int] | None  # left, top, right, bottom of the part of `image` that was used
    decode_ms: float
    resize_ms: float
    reduction: int = 1  # 2, 4 or 8 for a JPEG that was decoded at a reduced size
    encoded: bytes = field(default=b"", repr=False)  # of a reduced image: its file may change

    def as_dict(self) -> dict[str, Any]:
        """The JSON form: sizes, orientation and crop, in pixels of the full-size image."""
        record = {
            "width": self.image.width * self.reduction,
            "height": self.image.height * self.reduction,
            "orientation": self.orientation,
            "crop": [side * self.reduction for side in self.crop] if self.crop else None,
            "size": self.spec.size,
            "geometry": self.spec.geometry,
            "filter": self.spec.filter,
        }
        return record if self.reduction == 1 else record | {"reduction": self.reduction}

    def full_image(self) -> Image.Image:
        """The image at full size. Decodes it again if `image` is reduced."""
        return self.image if self.reduction == 1 else decode(self.encoded, self.source.name)[0]


def prepare(source: Source, spec: ImageSpec) -> Prepared:
    """Decode `source` and make the tensor that `spec` describes."""
    try:
        return _prepare(source, spec)
    except MemoryError as error:
        raise InputError.out_of_memory(source.name) from error


def _prepare(source: Source, spec: ImageSpec) -> Prepared:
    start = time.perf_counter()
    if source.kind == "array":
        data, reduction = b"", 1
        picture, orientation = _from_opened(source) if is_opened(source.content) else (_from_array(source), 1)
    else:
        data = source.read()
        picture, orientation, reduction = _decode(data, source.name, spec)
    decoded = time.perf_counter()
    tensor, crop = to_tensor(picture, spec)
    done = time.perf_counter()
    times = 1e3 * (decoded - start), 1e3 * (done - decoded)
    encoded = data if reduction > 1 else b""
    return Prepared(source, spec, tensor, picture, orientation, crop, *times, reduction, encoded)


def decode(data: bytes, name: str) -> tuple[Image.Image, int]:
    """Return the image in `data` at full size as upright 8-bit sRGB, and the EXIF orientation it was stored with.

    Raises InputError if it is not an image, damaged, too large, animated, partly transparent, or if the range of its
    pixel values is unknown.
    """
    try:
        return _decode(data, name, None)[:2]
    except MemoryError as error:
        raise InputError.out_of_memory(name) from error


def reduction_of(width: int, height: int, spec: ImageSpec) -> int:
    """By how much a JPEG with these upright sides is reduced while it is decoded: 1 (not at all), 2, 4 or 8.

    It is the largest number that divides both sides, so that shape and crop stay the same, and that leaves at least
    three times the network's side within the crop. Always 1 for the geometry "stretch".
    """
    if spec.geometry != "stretch-reduced-jpeg":
        return 1
    left, top, right, bottom = _central_4_to_3(width, height) or (0, 0, width, height)
    most = min(right - left, bottom - top) // (_FINEST * spec.size)
    return next((n for n in _REDUCTIONS if n <= most and width % n == height % n == 0), 1)


def _decode(data: bytes, name: str, spec: ImageSpec | None) -> tuple[Image.Image, int, int]:
    """As `decode`, at the reduced size that `spec` asks for. The third result is the reduction."""
    if not data:
        raise InputError(f"{name}: empty")
    is_jpeg = data.startswith(b"\xff\xd8")
    start = read_jpeg_start(data) if is_jpeg else JpegStart(len(data), False)
    if start.one_scan and start.length <= _SHORT_START:
        complete, scans, only = True, None, start.length
    else:
        from spot_edge.image.structure import check_blocks, read_scans  # slow to import

        complete = check_blocks(data, name)
        scans = read_scans(data) if is_jpeg and not start.one_scan else None
        only = scans.only if scans else start.length
    exif = split_exif(data, start.length, name) if is_jpeg else None
    pixels = without_end(data, only) if is_jpeg and only >= 0 else data
    check_tags(data, start.length, name)
    image: Image.Image | None = None
    try:
        _strict.enter()
        with _quietly():
            image = open_image(pixels, name)
            check_pixels(image, name)  # of the full size: progressive JPEGs need memory for all of it
            check_decoding_cost(image, scans, data, name)
            if not complete or (scans and not scans.complete):
                raise InputError(f"{name}: damaged image: image file is truncated")
            if image.format == "PNG":
                _load_png(image, data, name)
            orientation = _orientation(image, exif)
        # Only after a usual start: some decoders of lossless JPEGs ignore the reduction, and overflow Pillow's buffer.
        usual = start.length < len(data)
        reduction = _reduce(image, orientation, spec) if spec is not None and usual else 1
        with _quietly() if image.format == "TIFF" else nullcontext():  # it reads unusual tags only here
            image.load()
        picture = to_rgb(image, name)
    except InputError:
        raise
    except Exception as error:  # damaged files make Pillow raise almost any exception
        if isinstance(error, MemoryError) or lacks_memory(*(image.size if image is not None else webp_size(data))):
            raise InputError.out_of_memory(name) from error
        if isinstance(error, ImportError | NameError):  # NameError: Pillow lacks the decoder, or cannot load it
            raise InputError(f"{name}: cannot be decoded here: {first_line(error)}", transient=True) from error
        raise InputError(f"{name}: damaged image: {first_line(error)}") from error
    finally:
        _strict.leave()
    if image.format != "TIFF":  # Pillow rotates TIFFs while it loads them
        picture = _upright(picture, orientation)
    if type(picture) is not Image.Image:  # still the file's object, with its EXIF and tags
        # A new object for the same pixels. Pillow's public way copies them, and two large blocks at once make the C
        # library return both to the system after each image: 500 page faults per call, a tenth of its time.
        picture = Image.Image()._new(picture.im)
    picture.info = {}  # comments, profiles and text must not end up in saved files
    return picture, orientation, reduction


def _load_png(image: Image.Image, data: bytes, name: str) -> None:
    """Decode a PNG before its EXIF and XMP are read, which may follow the pixels.

    Pillow leaves missing rows black. If the row that is decoded last is not black, none is missing. Otherwise the rows
    are counted, which takes four tenths of the time of decoding.
    """
    image.load()  # only the first call reports damage
    bottom = image.height - image.height % 2 if image.info.get("interlace") else image.height
    if image.crop((0, bottom - 1, image.width, bottom)).getbbox() is None:
        from spot_edge.image.structure import has_all_rows

        if not has_all_rows(data):
            raise InputError(f"{name}: damaged image: the PNG has too few rows of pixels")


def _reduce(image: Image.Image, orientation: int, spec: ImageSpec) -> int:
    """Make the decoder of `image`, a JPEG, produce the reduced size that `spec` asks for, and return the reduction."""
    width, height = image.size
    reduction = reduction_of(*((height, width) if orientation >= _ON_THE_SIDE else (width, height)), spec)
    if reduction == 1:
        return 1
    image.draft(None, (width // reduction, height // reduction))
    return width // image.width  # draft may leave the size as it is


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence the warnings that Pillow raises about unusual tags. Not thread-safe, hence the lock."""
    with _muting, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _Strict:
    """Makes Pillow refuse truncated files, even if the program around us has told it to paint what is missing grey."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, False

    def enter(self) -> None:
        with self._lock:
            if not self._inside:
                self._before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._before


_strict = _Strict()


def to_tensor(picture: Image.Image, spec: ImageSpec) -> tuple[NDArray[np.uint8], tuple[int, int, int, int] | None]:
    """Return `picture` (upright RGB) as `uint8[1,S,S,3]`, and the box it was cropped to, if any."""
    crop = _central_4_to_3(picture.width, picture.height)
    kept = picture.crop(crop) if crop else picture
    # Pillow's bilinear filter widens when it shrinks an image: that is the antialiasing in the filter's name.
    resized = kept.resize((spec.size, spec.size), Image.Resampling.BILINEAR)
    return np.asarray(resized)[np.newaxis], crop


def _central_4_to_3(width: int, height: int) -> tuple[int, int, int, int] | None:
    """The box to keep, or None if the whole image may be stretched. Integer arithmetic, so exact everywhere."""
    if width < STRETCHED[0] * height:
        kept = (3 * width + 2) // 4
        top = (height - kept) // 2
        return 0, top, width, top + kept
    if width > STRETCHED[1] * height:
        kept = (4 * height + 1) // 3
        left = (width - kept) // 2
        return left, 0, left + kept, height
    return None


def _from_array(source: Source) -> Image.Image:
    array = np.asarray(source.content)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise InputError(
            f"{source.name}: an array must be uint8[H,W,3] RGB, not {array.dtype}{list(array.shape)}"
            + (" (scale floats to 0..255 before casting)" if array.dtype.kind == "f" else "")
        )
    check_size(array.shape[1], array.shape[0], source.name)
    return Image.fromarray(np.ascontiguousarray(array))


def _from_opened(source: Source) -> tuple[Image.Image, int]:
    """The upright 8-bit sRGB pixels of an opened image, as those of its file, and its orientation."""
    given, name = cast("Image.Image", source.content), source.name
    try:
        _strict.enter()
        check_pixels(given, name)
        with _quietly() if given.format == "TIFF" else nullcontext():
            given.load()  # rotates a TIFF
        image = given.copy()  # with its EXIF and profile, which may change later
        image.format = given.format
        with _quietly():
            orientation = _orientation(image)
        if image.mode in _PREMULTIPLIED:
            image = image.convert(_PREMULTIPLIED[image.mode])
        picture = _upright(to_rgb(image, name), orientation)
    except InputError:
        raise
    except Exception as error:  # its file may be damaged
        if isinstance(error, MemoryError) or lacks_memory(*given.size):
            raise InputError.out_of_memory(name) from error
        raise InputError(f"{name}: damaged image: {first_line(error)}") from error
    finally:
        _strict.leave()
    picture.info = {}
    return picture, orientation


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    """Rotate before resizing: Pillow resizes rows first and rounds, so rotating the tensor would give other values."""
    return picture.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else picture


def _orientation(image: Image.Image, exif: bytes | None = None) -> int:
    """The orientation in `exif`, by default in the EXIF of `image`. Drops XMP, which only some Pillow versions read."""
    try:
        if len(image.info.get(_PACKED_EXIF, "")) > 2 * _LONGEST_EXIF:
            del image.info[_PACKED_EXIF]
        has_xmp = [image.info.pop(key) for key in _XMP if key in image.info]
        if image.format == "JPEG" and (has_xmp or exif is not None):  # Pillow has read its EXIF already
            tags = Image.Exif()
            tags.load(image.info.get("exif", b"") if exif is None else exif)
        else:
            tags = image.getexif()
        value = tags.get(_ORIENTATION)
    except MemoryError:
        raise
    except Exception:  # unreadable EXIF: take the pixels as they are
        return 1
    return value if isinstance(value, int) and value in _UPRIGHT else 1
