"""Model files: as they are, and with a corrected digest, so that the readers behind it are reached."""

from __future__ import annotations

import hashlib

from fuzzed.refusals import NAME, refused_well
from spot_edge.errors import ModelError
from spot_edge.model.file import read_stored, verify
from spot_edge.model.flatbuffer import read_signature

LONGEST = 8192
WORDS = (b"TFL3", b"PK\1\2", b"PK\3\4", b"PK\5\6", b"spot-sha256:", b"labels.txt", b"spot.json", b"embedding.npz")


def run(data: bytes) -> None:
    """Run each reader alone, then read the file, then the file with a corrected digest."""
    with refused_well(ModelError):
        read_signature(data, NAME)
    with refused_well(ValueError):
        members = read_stored(data)
        assert sum(map(len, members.values())) <= len(data)
    with refused_well(ModelError):
        verify(data, NAME)
    with refused_well(ModelError):
        verify(redigested(data), NAME)


def redigested(content: bytes) -> bytes:
    """Return `content` with the correct digest at its end."""
    body = content[:-76] + b"spot-sha256:"
    return body + hashlib.sha256(content[:-76]).hexdigest().encode()
