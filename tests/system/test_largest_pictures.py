"""What it takes to decode the largest pictures that are taken: less than a gigabyte, whatever their format."""

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
picture, _ = decode(sys.stdin.buffer.read(), "largest")
print(picture.width * picture.height, peak() // 1024)
"""


# Flat pictures: what memory they take does not depend on what they show.
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
def test_the_largest_picture_fits_into_a_gigabyte(form: str, mode: str, options: dict[str, Any], peak: str) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    encoded = io.BytesIO()
    flat = Image.new(mode, (8000, 6240))
    flat.save(encoded, form, exif=turned, **options)
    ended = subprocess.run(
        [sys.executable, "-c", peak + DECODE], input=encoded.getvalue(), capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    pixels, megabytes = map(int, ended.stdout.split())
    print(f"{form} {mode}: {megabytes} MB for {pixels / 1e6:.0f} megapixels")
    assert pixels == 8000 * 6240
    assert 100 < megabytes < 1000
