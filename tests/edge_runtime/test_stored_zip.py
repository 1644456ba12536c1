"""An uncompressed zip is read in one pass; entries that exceed the file's size are rejected."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from spot_edge.model.file import read_stored


def zipped(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as bundle:
        for name, member in members.items():
            bundle.writestr(name, member)
    return content.getvalue()


def overlapping(files: int, size: int) -> bytes:
    """A zip of `files` names for the same `size` bytes."""
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 10, 0, 0, 0, 0, 0, size, size, 0, 0) + bytes(size)
    entry = struct.Struct("<4s4B4HL2L5H2L")
    names = [b"%06d" % number for number in range(files)]
    directory = b"".join(
        entry.pack(b"PK\1\2", 10, 0, 10, 0, 0, 0, 0, 0, 0, size, size, 6, 0, 0, 0, 0, 0, 0) + name for name in names
    )
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, files, files, len(directory), len(local), 0)
    return local + directory + end


def test_files_are_read_as_the_standard_module_reads_them() -> None:
    members = {"a.txt": b"", "b": bytes(range(256)), "c.json": b"{}"}
    assert read_stored(zipped(**members)) == members
    assert read_stored(overlapping(1, 900)) == {"000000": bytes(900)}


def test_files_that_share_their_bytes_are_rejected() -> None:
    """3 MB that would expand to 60 GB."""
    with pytest.raises(ValueError, match="entries exceed the file's size"):
        read_stored(overlapping(60_000, 1_000_000))


def test_a_duplicate_name_is_rejected() -> None:
    """One reader would use the first entry, another the last."""
    twice = zipped(abc=b"one", abd=b"two").replace(b"abd", b"abc")
    with pytest.raises(ValueError, match="two entries have the same name"):
        read_stored(twice)
