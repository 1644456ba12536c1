"""Decoding the largest images that cameras take needs less than a gigabyte in every format."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest
from PIL import Image

DECODE = """
import sys
from spot_edge.image.tensor import decode
image, _ = decode(sys.stdin.buffer.read(), "largest")
print(image.width * image.height, peak() // 1024)
"""


# The images are flat: the memory needed does not depend on the content.
@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        ("WEBP", "RGB", {"quality": 10, "method": 0}),
        ("JPEG", "CMYK", {"progressive": True}),
        ("PNG", "RGB", {"transparency": (1, 2, 3), "compress_level": 1}),
        ("JPEG", "L", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_largest_image_decodes_in_a_gigabyte(form: str, mode: str, options: dict[str, Any], peak: str) -> None:
    rotated = Image.Exif()
    rotated[0x0112] = 6
    encoded = io.BytesIO()
    flat = Image.new(mode, (8000, 6240))
    flat.save(encoded, form, exif=rotated, **options)
    done = subprocess.run(
        [sys.executable, "-c", peak + DECODE], input=encoded.getvalue(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    pixels, megabytes = map(int, done.stdout.split())
    print(f"{form} {mode}: {megabytes} MB for {pixels / 1e6:.0f} megapixels")
    assert pixels == 8000 * 6240
    assert 100 < megabytes < 1000
