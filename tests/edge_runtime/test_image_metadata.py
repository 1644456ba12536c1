"""Colors, orientation and tags mean the same in every Pillow version, in a file and in an opened image."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from spot_edge.errors import InputError
from spot_edge.image.source import Source
from spot_edge.image.tensor import decode, prepare
from spot_edge.model.spec import ImageSpec

SPEC = ImageSpec(48)
SRGB_CHRM = (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
ADOBE_CHRM = (31_270, 32_900, 64_000, 33_000, 21_000, 71_000, 15_000, 6_000)


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def segment(kind: int, content: bytes = b"") -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(content) + 2) + content


def gamma(value: int) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", value))


def chromaticities(values: tuple[int, ...]) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *values))


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def red_green_swapped() -> bytes:
    """The sRGB profile with red and green primaries swapped."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for at in range(132, 132 + 12 * struct.unpack_from(">I", profile, 128)[0], 12):
        tag = bytes(profile[at : at + 4])
        profile[at : at + 4] = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(tag, tag)
    return bytes(profile)


PROFILE = chunk(b"iCCP", b"p\0\0" + zlib.compress(red_green_swapped()))
NOT_SRGB = {
    "linear light": gamma(100_000),
    "gamma of old Macs": gamma(55_556),
    "gamma 2.4": gamma(41_667),
    "primaries of Adobe RGB": chromaticities(ADOBE_CHRM),
    "gamma of sRGB, primaries of Adobe RGB": gamma(45_455) + chromaticities(ADOBE_CHRM),
    "Display P3": chunk(b"cICP", b"\x0c\x0d\0\1"),
    "HDR": chunk(b"cICP", b"\x09\x10\0\1"),
    "HDR over an sRGB chunk": chunk(b"cICP", b"\x09\x10\0\1") + chunk(b"sRGB", b"\0"),
    "HDR with a profile": chunk(b"cICP", b"\x09\x12\0\1") + PROFILE,
}
SRGB = {
    "nothing": b"",
    "gamma": gamma(45_455),
    "rounded gamma": gamma(45_000),
    "gamma and primaries": gamma(45_455) + chromaticities(SRGB_CHRM),
    "sRGB chunk over gamma": chunk(b"sRGB", b"\0") + gamma(100_000),
    "sRGB code": chunk(b"cICP", b"\x01\x0d\0\1") + gamma(100_000),
    "no gamma": gamma(0),
    "a code of a wrong length": chunk(b"cICP", b"\x09"),
}


def png_with(png: bytes, extra: bytes) -> bytes:
    return png[:33] + extra + png[33:]


@pytest.mark.parametrize("colors", NOT_SRGB)
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_colors_of_a_png_that_are_not_srgb_are_refused(colors: str, mode: str, draw, encode) -> None:
    png = encode(Image.fromarray(draw(64, 48)).convert(mode))
    with pytest.raises(
        InputError, match=r"^scan: its colors are not sRGB \(cICP, gAMA or cHRM chunk\): save it as sRGB$"
    ):
        decode(png_with(png, NOT_SRGB[colors]), "scan")


@pytest.mark.parametrize("colors", SRGB)
def test_colors_of_a_png_that_say_srgb_change_no_pixel(colors: str, draw, encode) -> None:
    picture, _ = decode(png_with(encode(draw(64, 48)), SRGB[colors]), "scan")
    assert np.array_equal(np.asarray(picture), draw(64, 48))


@pytest.mark.parametrize("also", [gamma(100_000), chromaticities(ADOBE_CHRM), chunk(b"cICP", b"\x0c\x0d\0\1")])
def test_the_profile_of_a_png_decides_over_other_chunks(also: bytes, draw, encode) -> None:
    alone, _ = decode(png_with(encode(draw(64, 48)), PROFILE), "scan")
    both, _ = decode(png_with(encode(draw(64, 48)), also + PROFILE), "scan")
    assert np.array_equal(np.asarray(both), np.asarray(alone))
    assert not np.array_equal(np.asarray(alone), draw(64, 48))


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def with_xmp(form: str, picture: np.ndarray, encode, **options) -> bytes:
    if form == "JPEG":
        jpeg = encode(picture, form, **options)
        at = 20 if jpeg[3] == 0xE0 else 2
        return jpeg[:at] + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP) + jpeg[at:]
    if form == "TIFF":
        return encode(picture, form, tiffinfo={700: XMP}, **options)
    if form == "WEBP":
        return encode(picture, form, lossless=True, xmp=XMP, **options)
    text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    png = encode(picture, "PNG", **options)
    return png_with(png, text) if form == "PNG" else png[:-12] + text + png[-12:]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "PNG, after the pixels", "TIFF", "WEBP"])
def test_an_orientation_in_xmp_is_ignored(form: str, draw, encode) -> None:
    data = with_xmp(form, draw(64, 48), encode)
    assert XMP in data
    picture, orientation = decode(data, "scan")
    assert (orientation, picture.size) == (1, (64, 48))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "PNG, after the pixels", "WEBP"])
def test_an_orientation_in_exif_counts_beside_xmp(form: str, draw, encode) -> None:
    picture, orientation = decode(with_xmp(form, draw(64, 48), encode, exif=exif(8)), "scan")
    assert (orientation, picture.size) == (8, (48, 64))


def split_exif(data: bytes, encode, picture: np.ndarray, *cuts: int) -> bytes:
    """A JPEG whose EXIF block `data` is split at these places over several segments."""
    jpeg = encode(picture, "JPEG")
    parts = [data[start:end] for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True)]
    return jpeg[:2] + b"".join(segment(0xE1, b"Exif\0\0" + part) for part in parts) + jpeg[2:]


def test_exif_split_over_several_segments_is_joined(draw, encode) -> None:
    tags = exif(6).tobytes()[6:]
    for cuts in ((2,), (10,), (3, 7, 20)):
        picture, orientation = decode(split_exif(tags, encode, draw(64, 48), *cuts), "scan")
        assert (orientation, picture.size) == (6, (48, 64))


@pytest.mark.parametrize("cuts", [(2,), (3,), (8,), (12, 3000)])
def test_tags_that_share_bytes_are_found_in_a_split_exif(cuts: tuple[int, ...], draw, encode) -> None:
    """The header is in one segment, the rest in others."""
    count, size = 5000, 5000
    at = 8 + 2 + 12 * count + 4
    entries = b"".join(struct.pack("<HHII", 1000 + number, 1, size, at) for number in range(count))
    tags = b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4 + size)
    with pytest.raises(InputError, match="corrupt tags"):
        decode(split_exif(tags, encode, draw(64, 48), *cuts), "scan")


KEPT = ("exif", "icc_profile", "xmp", "XML:com.adobe.xmp")


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 2, 6, 8])
def test_an_opened_image_counts_as_its_file(form: str, orientation: int, loaded: bool, draw, encode) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    data = encode(draw(80, 60), form, exif=exif(orientation), icc_profile=red_green_swapped(), **options)
    image = opened(data)
    if loaded:
        image.load()
    before = {key: image.info.get(key) for key in KEPT}
    expected, prepared = prepare(Source.of(data), SPEC), prepare(Source.of(image), SPEC)
    assert np.array_equal(prepared.tensor, expected.tensor)
    assert np.array_equal(np.asarray(prepared.image), np.asarray(expected.image))
    assert (prepared.source.kind, prepared.image.info) == ("array", {})
    assert {key: image.info.get(key) for key in KEPT} == before


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "RGBA", "YCbCr", "RGBX"])
def test_an_opened_image_may_have_any_mode(mode: str, draw, encode) -> None:
    image = Image.fromarray(draw(64, 48)).convert(mode)
    expected = image.convert("RGB")
    assert np.array_equal(np.asarray(prepare(Source.of(image), SPEC).image), np.asarray(expected))


def test_an_opened_image_is_refused_as_its_file_is(draw, encode) -> None:
    picture = Image.fromarray(draw(64, 48))
    clear = picture.convert("RGBA")
    clear.putpixel((3, 3), (1, 2, 3, 0))
    film = opened(encode(picture, "GIF", save_all=True, append_images=[Image.new("RGB", (64, 48))]))
    refused = {
        "has transparent parts": clear,
        "several images in one file": film,
        "32-bit pixels of unknown range": picture.convert("F"),
        "64x31 pixels are too few": picture.resize((64, 31)),
        "more than 50 megapixels": Image.new("1", (8000, 6251)),
        "damaged image: image file is truncated": opened(encode(picture)[:-600]),
    }
    for message, image in refused.items():
        with pytest.raises(InputError, match=f"^mole: .*{message}"):
            prepare(Source.of(image, "mole"), SPEC)
    premultiplied = clear.convert("RGBa")
    with pytest.raises(InputError, match="has transparent parts"):
        prepare(Source.of(premultiplied), SPEC)


def test_what_happens_to_an_opened_image_later_does_not_matter(draw) -> None:
    image = Image.fromarray(draw(64, 48))
    prepared = prepare(Source.of(image), SPEC)
    image.paste((0, 0, 0), (0, 0, 64, 48))
    assert np.array_equal(np.asarray(prepared.image), draw(64, 48))


def test_an_opened_image_has_no_encoded_bytes(draw) -> None:
    with pytest.raises(InputError, match="an opened image has no encoded bytes"):
        Source.of(Image.fromarray(draw(64, 48)), "mole").read()
