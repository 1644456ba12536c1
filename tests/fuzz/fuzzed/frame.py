"""A camera's frame: Motion-JPEG, or YUYV in a layout that the driver reports."""

from __future__ import annotations

import struct

from fuzzed.refusals import NAME, refused_well
from spot_edge.camera.focus import read_quality
from spot_edge.camera.frames import Yuyv, complete_jpeg, encode
from spot_edge.errors import InputError
from spot_edge.image.tensor import decode

LONGEST = 16_384
WORDS = tuple(bytes([0xFF, code]) for code in (0xD8, 0xC0, 0xC2, 0xC4, 0xDA, 0xDB, 0xDD, 0xD0, 0xD9, 0xE0, 0xFE, 0xFF))
LAYOUT = struct.Struct("<6sBBBBBB")  # a mark, then width, height, stride, colour space, encoding, quantization


def run(data: bytes) -> None:
    """Decode the frame, or raise an expected error."""
    with refused_well(ValueError, InputError):
        if data.startswith(b"\0YUYV\0") and len(data) >= LAYOUT.size:
            frame = encode(Yuyv(*LAYOUT.unpack_from(data)[1:]).to_rgb(data[LAYOUT.size :]))
        else:
            frame = complete_jpeg(data)
            assert complete_jpeg(frame) == frame
        read_quality(decode(frame, NAME)[0])
