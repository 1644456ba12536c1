"""However a file stores its pixels, decoding gives the same upright 8-bit sRGB image."""

from __future__ import annotations

import io
import struct
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms

from spot_edge.errors import InputError
from spot_edge.image.tensor import decode

# EXIF orientation → how a camera held that way stores an upright image
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
LOSSLESS = [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})]


def pixels(data: bytes) -> np.ndarray:
    picture, _ = decode(data, "picture")
    assert picture.mode == "RGB"
    return np.asarray(picture)


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize(("form", "options"), [*LOSSLESS, ("BMP", {})])
def test_a_lossless_image_keeps_every_pixel(form: str, options: dict, draw, encode) -> None:
    picture = draw(80, 60)
    assert np.array_equal(pixels(encode(picture, form, **options)), picture)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(("form", "options"), LOSSLESS)
def test_every_orientation_comes_out_upright(orientation: int, form: str, options: dict, draw, encode) -> None:
    upright = draw(80, 60)
    stored = np.ascontiguousarray(STORED[orientation](upright))
    picture, found = decode(encode(stored, form, exif=exif_with(orientation), **options), "picture")
    assert found == orientation
    assert np.array_equal(np.asarray(picture), upright)


@pytest.mark.parametrize("orientation", STORED)
def test_a_jpeg_is_rotated_by_its_orientation(orientation: int, draw, encode) -> None:
    stored = np.ascontiguousarray(STORED[orientation](draw(80, 60)))
    plain = pixels(encode(stored, "JPEG"))
    assert np.array_equal(STORED[orientation](pixels(encode(stored, "JPEG", exif=exif_with(orientation)))), plain)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_invalid_orientation_is_ignored(orientation: int, draw, encode) -> None:
    picture, found = decode(encode(draw(80, 60), exif=exif_with(orientation)), "picture")
    assert found == 1
    assert np.array_equal(np.asarray(picture), draw(80, 60))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("junk", [b"junk", b"II*\0\x08\0\0\0\xff\xff junk", b"MM\0*\xff\xff\xff\xff", b""])
def test_broken_exif_is_ignored(form: str, junk: bytes, draw, encode) -> None:
    picture = draw(80, 60)
    broken = encode(picture, form, exif=b"Exif\0\0" + junk)
    if form == "JPEG" and junk.endswith(b"\xff") and sys.maxsize < 2**32:  # an offset too large for 32 bits
        with pytest.raises(InputError, match="damaged image"):
            pixels(broken)
    else:
        assert np.array_equal(pixels(broken), pixels(encode(picture, form)))


def test_previews_after_a_photograph_are_ignored(draw, encode) -> None:
    photograph, preview = Image.fromarray(draw(80, 60)), Image.new("RGB", (80, 60), "blue")
    several = encode(photograph, "MPO", save_all=True, append_images=[preview])
    assert np.array_equal(pixels(several), pixels(encode(photograph, "JPEG")))


def test_grey_becomes_three_equal_channels(draw, encode) -> None:
    grey = draw(80, 60)[:, :, 0]
    assert np.array_equal(pixels(encode(grey)), np.repeat(grey[:, :, np.newaxis], 3, axis=2))


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_high_byte(form: str, encode) -> None:
    grey = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    assert np.array_equal(pixels(encode(grey, form))[:, :, 1], grey >> 8)


def test_black_and_white_use_the_complete_range(encode) -> None:
    board = (np.indices((64, 64)).sum(axis=0) % 2).astype(bool)
    assert np.array_equal(pixels(encode(Image.fromarray(board)))[:, :, 2], 255 * board)


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_a_palette_image_shows_its_colours(form: str, draw, encode) -> None:
    palette = Image.fromarray(draw(80, 60)).quantize(16)
    assert np.array_equal(pixels(encode(palette, form)), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_opaque_alpha_channel_changes_nothing(mode: str, draw, encode) -> None:
    image = Image.fromarray(draw(80, 60)).convert(mode)
    assert np.array_equal(pixels(encode(image)), np.asarray(image.convert("RGB")))


def test_an_opaque_palette_transparency_changes_nothing(draw, encode) -> None:
    palette = Image.fromarray(draw(80, 60)).quantize(8)
    assert np.array_equal(pixels(encode(palette, transparency=b"\xff" * 8)), np.asarray(palette.convert("RGB")))


def test_cmyk_is_converted_to_rgb(encode) -> None:
    inks = {(0, 255, 255, 0): (255, 0, 0), (255, 0, 255, 0): (0, 255, 0), (0, 0, 0, 255): (0, 0, 0)}
    for ink, light in inks.items():
        for form, tolerance in (("TIFF", 0), ("JPEG", 3)):
            seen = pixels(encode(Image.new("CMYK", (64, 48), ink), form)).astype(int)
            assert np.abs(seen - light).max() <= tolerance, (ink, form)


def srgb() -> bytes:
    """An sRGB profile of version 4, whose description is in UTF-16."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def red_green_swapped() -> bytes:
    """The sRGB profile with red and green primaries swapped: an image in it has these channels swapped."""
    profile = bytearray(srgb())
    for at in range(132, 132 + 12 * struct.unpack_from(">I", profile, 128)[0], 12):
        tag = bytes(profile[at : at + 4])
        profile[at : at + 4] = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(tag, tag)
    return bytes(profile)


def with_text(profile: bytes, text: bytes) -> bytes:
    longer = bytearray(profile + text)
    longer[:4] = struct.pack(">I", len(longer))
    return bytes(longer)


def test_an_srgb_profile_changes_no_pixel(draw, encode) -> None:
    assert b"sRGB" not in srgb()
    assert np.array_equal(pixels(encode(draw(80, 60), icc_profile=srgb())), draw(80, 60))


@pytest.mark.parametrize("name", [b"", b"sRGB"])  # a profile may call itself sRGB and be something else
def test_another_profile_is_converted_to_srgb(name: bytes, draw, encode) -> None:
    shown = pixels(encode(draw(80, 60), icc_profile=with_text(red_green_swapped(), name))).astype(int)
    assert np.abs(shown - draw(80, 60)[:, :, [1, 0, 2]]).max() <= 2


@pytest.mark.parametrize(("shift", "converted"), [(3, False), (-3, False), (4, True), (-4, True)])
def test_a_profile_that_shifts_by_rounding_alone_changes_no_pixel(
    shift: int, converted: bool, draw, encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(image: Image.Image, _: object) -> Image.Image:
        return Image.fromarray(np.clip(np.asarray(image).astype(int) + shift, 0, 255).astype(np.uint8))

    monkeypatch.setattr(ImageCms, "applyTransform", shifted)
    seen = pixels(encode(draw(80, 60), icc_profile=srgb()))
    assert np.array_equal(seen, np.asarray(shifted(Image.fromarray(draw(80, 60)), None)) if converted else draw(80, 60))


def test_without_a_profile_no_colours_are_converted(draw, encode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ImageCms, "ImageCmsProfile")
    assert np.array_equal(pixels(encode(draw(80, 60))), draw(80, 60))


@pytest.mark.parametrize("profile", [b"junk", srgb()[:300], bytes(128) + b"acsp", srgb()[:128] + b"\xff" * 400])
def test_a_broken_profile_is_ignored(profile: bytes, draw, encode) -> None:
    assert np.array_equal(pixels(encode(draw(80, 60), icc_profile=profile)), draw(80, 60))


def test_a_palette_and_an_alpha_channel_keep_the_profile(draw, encode) -> None:
    plain = Image.fromarray(draw(80, 60)).quantize(8)
    colours = np.asarray(plain.convert("RGB")).astype(int)[:, :, [1, 0, 2]]
    for image in (plain, plain.convert("RGBA")):
        shown = pixels(encode(image, icc_profile=red_green_swapped())).astype(int)
        assert np.abs(shown - colours).max() <= 2, image.mode


def test_an_rgb_profile_on_a_grey_image_is_ignored(draw, encode) -> None:
    grey = draw(80, 60)[:, :, 0]
    assert np.array_equal(pixels(encode(grey, icc_profile=red_green_swapped()))[:, :, 0], grey)


def test_only_pixels_remain(draw, encode) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x013B] = 1, "SECRET maker", "SECRET artist"
    stored = {
        "JPEG": {"exif": exif, "comment": b"SECRET comment", "icc_profile": with_text(srgb(), b"SECRET")},
        "TIFF": {"exif": exif, "description": "SECRET description", "software": "SECRET"},
        "WEBP": {"exif": exif, "xmp": b"SECRET xmp", "lossless": True},
        "GIF": {"comment": b"SECRET"},
    }
    for form, options in stored.items():
        data = encode(draw(80, 60), form, **options)
        assert b"SECRET" in data, form
        picture, _ = decode(data, "picture")
        assert (picture.info, dict(picture.getexif())) == ({}, {}), form
        for kept in ("JPEG", "PNG", "TIFF", "WEBP"):
            again = encode(picture, kept)
            assert b"SECRET" not in again, (form, kept)
            with Image.open(io.BytesIO(again)) as image:
                assert not {"exif", "comment", "icc_profile", "xmp"} & set(image.info), (form, kept)


@pytest.mark.parametrize(
    "odd",
    [(274, 3, 2, 0x00010001), (282, 5, 1, 1_000_000), (700, 7, 400, 1_000_000)],
    ids=["two orientations", "a resolution after the end", "text after the end"],
)
def test_odd_tags_of_a_tiff_change_nothing_and_give_no_warning(odd: tuple[int, int, int, int], draw) -> None:
    drawn = draw(64, 64).tobytes()
    plain = {256: 64, 257: 64, 258: 8, 259: 1, 262: 2, 273: 8, 277: 3, 278: 64, 279: len(drawn)}
    tags = sorted([*((tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in plain.items()), odd])
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    found = pixels(b"II*\0" + struct.pack("<I", 8 + len(drawn)) + drawn + directory)
    assert np.array_equal(found, draw(64, 64))
