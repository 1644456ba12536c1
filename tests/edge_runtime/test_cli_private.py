"""The metadata and the location of an image do not get into what `spot-edge classify` writes."""

from __future__ import annotations

import getpass
import json
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageCms

SECRET = b"SECRET"
JPEG_PARTS = {0xD8, 0xE0, 0xDB, 0xC0, 0xC4, 0xDA}  # start, JFIF, tables, frame, tables, scan: nothing else
PNG_PARTS = [b"IHDR", b"IDAT", b"IEND"]


def exif(thumbnail: bytes) -> bytes:
    """Camera, owner, serial number, place and time, and a thumbnail with its own comment."""
    tags = Image.Exif()
    tags[0x010E], tags[0x010F], tags[0x0110], tags[0x013B], tags[0x8298] = ["SECRET"] * 5
    inner, place = tags.get_ifd(0x8769), tags.get_ifd(0x8825)
    inner[0x9003], inner[0xA430], inner[0xA431], inner[0x927C] = ["SECRET"] * 3 + [b"SECRET"]
    place[1], place[2], place[0x1D] = "N", (52.0, 31.0, 12.0), "SECRET"
    return tags.tobytes() + thumbnail


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (2 + len(content)).to_bytes(2, "big") + content


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def profile() -> bytes:
    """sRGB with SECRET as its copyright."""
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    at = plain.index("No copyright".encode("utf-16-be"))
    return plain[:at] + SECRET + plain[at + len(SECRET) :]


@pytest.fixture(scope="module")
def with_secrets(draw, encode) -> dict[str, bytes]:
    """An image in each format, with all the personal metadata that the format can hold."""
    picture = draw(120, 90)
    metadata = exif(encode(draw(40, 30), "JPEG", comment=SECRET))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">SECRET</x:xmpmeta>'
    jpeg, png = encode(picture, "JPEG"), encode(picture)
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0b\x1c\x02\x50\0\x06SECRET\0"
    segments = [
        segment(0xE1, metadata if metadata.startswith(b"Exif") else b"Exif\0\0" + metadata),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp),
        segment(0xE2, b"ICC_PROFILE\0\1\1" + profile()),
        segment(0xED, iptc),
        segment(0xFE, SECRET),
    ]
    chunks = [
        chunk(b"iCCP", b"SECRET\0\0" + zlib.compress(profile())),
        chunk(b"tEXt", b"Author\0SECRET"),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(SECRET)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        chunk(b"eXIf", metadata.removeprefix(b"Exif\0\0")),
        chunk(b"tIME", bytes(7)),
    ]
    tags = Image.Exif()
    tags[0x010F], tags[0x013B], tags[700] = "SECRET", "SECRET", xmp
    return {
        "jpg": jpeg[:2] + b"".join(segments) + jpeg[2:] + b"SECRET after the end",
        "png": png[:33] + b"".join(chunks) + png[33:] + b"SECRET after the end",
        "webp": encode(picture, "WEBP", lossless=True, exif=metadata, xmp=xmp, icc_profile=profile()),
        "tif": encode(picture, "TIFF", exif=tags, description="SECRET", software="SECRET", icc_profile=profile()),
        "gif": encode(Image.fromarray(picture).quantize(64), "GIF", comment=SECRET),
    }


def parts_of_jpeg(data: bytes) -> set[int]:
    found, at = {data[1]}, 2
    while 0xDA not in found:
        found.add(data[at + 1])
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return found


def parts_of_png(data: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(data):
        found.append(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return sorted(set(found), key=found.index)


@pytest.mark.parametrize("form", ["jpg", "png", "webp", "tif", "gif"])
def test_metadata_is_not_written_anywhere(form: str, with_secrets, spot_edge, tmp_path) -> None:
    data = with_secrets[form]
    assert data.count(SECRET) > (2 if form != "gif" else 0)
    (tmp_path / f"mole.{form}").write_bytes(data)
    out = tmp_path / "out"
    for options in ([], ["--json"], ["--csv"]):
        result = spot_edge("classify", tmp_path / f"mole.{form}", "--save", out, "--heatmap", out, *options)
        assert result.returncode == 0, result.stderr
        assert SECRET not in result.stdout + result.stderr
    written = {path.name: path.read_bytes() for path in out.iterdir()}
    assert len(written) == 9
    for name, content in written.items():
        assert SECRET not in content, name
        assert zlib.compress(SECRET)[2:-4] not in content, name
        if name.endswith(".jpg"):
            assert parts_of_jpeg(content) <= JPEG_PARTS, name
        elif name.endswith(".png"):
            assert parts_of_png(content) == PNG_PARTS, name


def test_metadata_is_not_in_error_messages(with_secrets, spot_edge, tmp_path) -> None:
    for form, data in with_secrets.items():
        (tmp_path / f"cut.{form}").write_bytes(data[: len(data) - len(data) // 4])
    result = spot_edge("classify", tmp_path, "--json")
    assert result.returncode == 3
    assert result.stdout.count(b'"error"') >= 4
    assert SECRET not in result.stdout + result.stderr


def test_paths_and_users_appear_only_as_they_were_given(lesion, spot_edge, tmp_path, model) -> None:
    """Users who name images by relative paths reveal neither the folder nor their own name."""
    hidden = tmp_path / "clinic of Dr Secret"
    (hidden / "scans").mkdir(parents=True)
    (hidden / "scans" / "mole.png").write_bytes(lesion)
    (hidden / "scans" / "cut.png").write_bytes(lesion[:-400])
    (hidden / "model.tflite").write_bytes(model.content)
    (hidden / "cut.tflite").write_bytes(model.content[:-400])
    output = b""
    for options in (
        ["scans", "--model", "model.tflite", "--json", "--save", "out", "--heatmap", "out"],
        ["scans", "gone.png", "--csv"],
        ["scans"],
        ["scans", "--model", "cut.tflite"],
        ["scans", "--save", "scans/mole.png/below"],
    ):
        result = spot_edge("classify", *options, cwd=hidden)
        output += result.stdout + result.stderr
    output += b"".join(path.read_bytes() for path in (hidden / "out").iterdir())
    record = json.loads((hidden / "out" / "mole.json").read_text())
    assert record["source"] == {"kind": "path", "name": "scans/mole.png"}
    for secret in ("Dr Secret", str(tmp_path), str(Path.home()) + "/", f"/{getpass.getuser()}/", "site-packages"):
        assert secret.encode() not in output, secret
