"""Images of every format: from bytes to a tensor."""

from __future__ import annotations

from fuzzed.refusals import NAME, refused_well
from spot_edge.errors import InputError
from spot_edge.image.limits import MAX_PIXELS
from spot_edge.image.source import Source
from spot_edge.image.tensor import prepare
from spot_edge.model.spec import ImageSpec

LONGEST = 8192
WORDS = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"WEBP", b"II*\0", b"MM\0*", b"BM", b"GIF87a", b"GIF89a"),
    *(b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"zTXt", b"iTXt"),
    *(b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP "),
    *(b"\xff\xc0", b"\xff\xc2", b"\xff\xc4", b"\xff\xda", b"\xff\xdb", b"\xff\xdd", b"\xff\xe1", b"\xff\xe2"),
    *(b"\xff\xee", b"\xff\xd9", b"Exif\0\0", b"ICC_PROFILE\0", b"Adobe", b"acsp", b"\x2c", b"\x21\xf9", b"\x12\x01"),
    *(b"\x42\x01", b"\x44\x01", b"\x03\x01", b"\x06\x01", b"\x15\x01", b"\x1c\x01", b"\x52\x01", b"\x53\x01"),
)
SPEC = ImageSpec(32)


def run(data: bytes) -> None:
    """Make a tensor and an upright image without the file's metadata, or raise an expected error."""
    with refused_well(InputError):
        prepared = prepare(Source.of(data, NAME), SPEC)
        image = prepared.image
        assert prepared.tensor.shape == (1, 32, 32, 3)
        assert image.mode == "RGB"
        assert min(image.size) >= 32
        assert image.width * image.height <= MAX_PIXELS
        assert image.info == {}
