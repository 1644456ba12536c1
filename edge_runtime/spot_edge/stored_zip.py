"""The files in a zip that only stores them, as `seal` and `numpy.savez` do: the standard module is slow to import."""

from __future__ import annotations

import struct

__all__ = ["read_stored"]

_END, _ENTRY = 22, 46  # bytes of a zip's end record and of a directory entry


def read_stored(content: bytes, end: int | None = None) -> dict[str, bytes]:
    """The files in the zip whose end record ends at `end` of `content` (default: at its end).

    ValueError, with a reason to be told after a name, for what is no such zip.
    """
    try:
        record = struct.unpack_from("<4s4H2LH", content, (len(content) if end is None else end) - _END)
        mark, count, at = record[0], record[4], record[6]
        if mark != b"PK\5\6":
            raise ValueError("no zip in front of its digest" if end else "no zip")
        members: dict[str, bytes] = {}
        held = 0
        for _ in range(count):
            entry = struct.unpack_from("<4s4B4HL2L5H2L", content, at)
            if entry[0] != b"PK\1\2":
                raise ValueError("its zip cannot be read")
            if entry[6] != 0 or entry[10] != entry[11]:
                raise ValueError("its zip is compressed, which MediaPipe cannot read")
            names, extras, comments, start = entry[12], entry[13], entry[14], entry[18]
            key = content[at + _ENTRY : at + _ENTRY + names].decode()
            inner, skipped = struct.unpack_from("<2H", content, start + 26)
            first = start + 30 + inner + skipped
            held += entry[11]
            if held > len(content):  # files that share their bytes would unfold without end
                raise ValueError("its zip holds more than its bytes")
            if key in members:  # of which one reader takes the first, another the last
                raise ValueError("its zip holds a name twice")
            members[key] = content[first : first + entry[11]]
            if len(members[key]) != entry[11]:
                raise ValueError("its zip cannot be read")
            at += _ENTRY + names + extras + comments
    except (struct.error, OverflowError, UnicodeDecodeError):  # OverflowError: offsets beyond 2 GB on 32 bits
        raise ValueError("its zip cannot be read") from None
    return members
