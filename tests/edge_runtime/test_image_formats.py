"""What is read from an image file before it is decoded: its format, the scans of a JPEG, and the size of its tags."""

from __future__ import annotations

import struct

import pytest

from spot_edge.errors import InputError
from spot_edge.image.formats import FORMATS, has_overlapping_tags, open_image, read_jpeg_start
from spot_edge.image.structure import read_scans

# TIFF 6.0, section 2, and the type IFD of its supplement: the bytes of one value of each type
TYPES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


def tiff(entries: list[tuple[int, int, int, int]], order: str = "<", length: int = 160) -> bytes:
    """A TIFF of `length` bytes with one directory of these tags: number, type, count, value."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries))
    return (head + b"".join(struct.pack(order + "HHII", *entry) for entry in entries)).ljust(length, b"\0")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("kind", "size"), TYPES.items())
def test_tags_may_claim_four_times_the_bytes_of_the_file(kind: int, size: int, order: str) -> None:
    whole = (700, kind, 160 // size, 0)  # claims every byte of the file
    assert not has_overlapping_tags(tiff([whole] * 4, order))
    assert has_overlapping_tags(tiff([whole] * 4 + [(700, 1, 5, 0)], order))
    assert not has_overlapping_tags(tiff([whole] * 4 + [(700, 1, 4, 0)], order))  # four bytes fit into the tag itself
    assert not has_overlapping_tags(tiff([(700, kind, 160 // size + 1, 0)] * 9, order))  # never read


def test_bytes_after_a_directory_are_not_tags() -> None:
    thirteen = tiff([(700, 1, 100, 0)] * 13, length=300)
    assert has_overlapping_tags(thirteen)
    assert not has_overlapping_tags(thirteen[:8] + struct.pack("<H", 12) + thirteen[10:])


def test_unknown_types_claim_nothing() -> None:
    for kind in {0, 14, 255}:
        assert not has_overlapping_tags(tiff([(700, kind, 160, 0)] * 12))


@pytest.mark.parametrize("tag", [0x8769, 0x8825, 0xA005])
def test_linked_directories_count(tag: int) -> None:
    second = struct.pack("<H", 6) + struct.pack("<HHII", 700, 1, 300, 0) * 6
    data = tiff([(tag, 4, 1, 100)], length=100) + second
    data = data.ljust(300, b"\0")
    assert has_overlapping_tags(data)
    assert not has_overlapping_tags(
        data.replace(struct.pack("<HHII", tag, 4, 1, 100), struct.pack("<HHII", 700, 4, 1, 100))
    )


def test_directories_at_or_after_the_end_are_no_error() -> None:
    assert not has_overlapping_tags(b"II*\0" + struct.pack("<I", 8))
    assert not has_overlapping_tags(b"II*\0" + struct.pack("<I", 10_000))
    assert not has_overlapping_tags(b"II*\0\x08")
    assert not has_overlapping_tags(b"II*\0" + struct.pack("<IH", 8, 65_535))
    assert not has_overlapping_tags(b"")


def test_a_directory_that_links_to_itself_terminates() -> None:
    assert has_overlapping_tags(tiff([(0x8769, 4, 1, 8)]))


@pytest.mark.parametrize(("last", "too_many"), [(34_464, False), (34_465, True)])
def test_a_file_may_have_a_hundred_thousand_tags(last: int, too_many: bool) -> None:
    """The header counts as one; then a directory of 65,535 tags, and the one that its first tag links to."""
    second = 8 + 2 + 12 * 65_535
    entries = struct.pack("<HHII", 0x8769, 4, 1, second) + struct.pack("<HHII", 700, 1, 4, 0) * 65_534
    data = b"II*\0" + struct.pack("<IH", 8, 65_535) + entries
    data += struct.pack("<H", last) + struct.pack("<HHII", 700, 1, 4, 0) * last
    assert has_overlapping_tags(data) == too_many


@pytest.mark.parametrize(("headers", "too_many"), [(100_000, False), (100_001, True)])
def test_a_file_may_have_a_hundred_thousand_headers(headers: int, too_many: bool) -> None:
    assert has_overlapping_tags(b"MM\0*" * headers) == too_many


def segment(kind: int, content: bytes = b"") -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(content) + 2) + content


SCAN = segment(0xDA, b"head") + b"data\xff\x00data\xff\xd0data\xff\xd7"


@pytest.mark.parametrize("scans", [0, 1, 2, 7])
def test_scans_are_counted(scans: int) -> None:
    assert read_scans(b"\xff\xd8" + segment(0xE0, b"JFIF") + SCAN * scans + b"\xff\xd9").number == scans


def test_only_scans_of_the_image_itself_are_counted() -> None:
    preview = segment(0xE1, b"Exif" + SCAN * 5)
    assert read_scans(b"\xff\xd8" + preview + SCAN + b"\xff\xd9").number == 1
    assert read_scans(b"\xff\xd8" + SCAN + b"\xff\xd9" + SCAN * 5).number == 1  # after its end
    assert read_scans(b"\xff\xd8\xff\x01" + SCAN * 2).number == 2  # a marker without a length, and no end
    assert read_scans(b"\xff\xd8" + b"\xff\xff\xff" + SCAN).number == 1  # fill bytes
    assert read_scans(b"").number == 0


def test_an_unknown_format_lists_the_known_ones() -> None:
    assert FORMATS == ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
    for data in (b"", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0 WEBP", b"\0\0\1\0"):
        with pytest.raises(InputError, match=r"x: .*JPEG, PNG, WEBP, TIFF, BMP, GIF"):
            open_image(data, "x")


@pytest.mark.parametrize("options", [{}, {"quality": 30}, {"subsampling": 0}, {"exif": b"Exif\0\0II*\0\xff\xda\0\2"}])
def test_the_start_of_an_ordinary_jpeg_ends_at_its_only_scan(options, draw, encode) -> None:
    for picture in (draw(64, 48), draw(64, 48)[:, :, 0]):
        jpeg = encode(picture, "JPEG", **options)
        scan = jpeg.rindex(b"\xff\xda\0")  # what looks like one in the EXIF comes before
        assert read_jpeg_start(jpeg) == (scan, True)


def test_several_scans_are_recognized(draw, encode) -> None:
    progressive = encode(draw(64, 48), "JPEG", progressive=True)
    assert read_jpeg_start(progressive) == (progressive.index(b"\xff\xda"), False)
    jpeg = encode(draw(64, 48), "JPEG")
    scan = jpeg.index(b"\xff\xda")
    for channels in (0, 1, 2):  # the other channels have scans of their own
        assert read_jpeg_start(jpeg[: scan + 4] + bytes([channels]) + jpeg[scan + 5 :]) == (scan, False)
    frame = jpeg[(at := jpeg.index(b"\xff\xc0")) : at + 19]
    assert read_jpeg_start(jpeg[:scan] + frame + jpeg[scan:]) == (scan + 19, False)
    without = jpeg[:at] + jpeg[at + 19 :]
    no_scan = without[: scan - 19 + 4] + b"\0" + without[scan - 19 + 5 :]
    assert not read_jpeg_start(no_scan).one_scan


@pytest.mark.parametrize(
    "unusual",
    [b"\xff\xff", b"\0", b"\xff\xe5\0\1", b"\xff\xd9\0\2", b"\xff\xc9\0\2", b"\xff\xe5\xff\xff"],
    ids=["padding", "junk", "too short", "an end", "arithmetic", "beyond the end"],
)
def test_an_unusual_start_counts_as_the_whole_file(unusual: bytes, draw, encode) -> None:
    jpeg = encode(draw(64, 48), "JPEG")
    for data in (jpeg[:2] + unusual + jpeg[2:], jpeg[:2] + unusual):
        assert read_jpeg_start(data) == (len(data), False)


def test_every_beginning_of_a_jpeg_is_read_without_an_error(draw, encode) -> None:
    jpeg = encode(draw(64, 48), "JPEG")
    scan = jpeg.index(b"\xff\xda")
    for length in range(scan + 5):
        assert read_jpeg_start(jpeg[:length]) == (length, False)
    assert read_jpeg_start(jpeg[: scan + 5]) == (scan, True)


def test_only_tags_before_an_end_count() -> None:
    data = bytes(10) + tiff([(0x8769, 4, 1, 8)])
    assert has_overlapping_tags(data, 14)
    assert not has_overlapping_tags(data, 13)
