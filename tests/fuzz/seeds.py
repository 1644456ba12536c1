"""Make the corpus that fuzzing starts from: `python tests/fuzz/seeds.py`, with pytest installed. All data is drawn."""

from __future__ import annotations

import importlib.util
import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
from fuzzed import driver, embedding, frame, image, model, spec
from fuzzed.tiny import SPEC, tiny_embedding, tiny_flatbuffer, tiny_model
from PIL import Image, ImageCms

from spot_edge import Camera
from spot_edge.camera.listing import list_cameras
from spot_edge.model.spec import Criterion, Drift
from spot_edge.model.spec_json import render_spec

HERE = Path(__file__).parent
TARGETS = {"image": image, "model": model, "spec": spec, "embedding": embedding, "frame": frame, "driver": driver}
SIDE = 40


def drawn() -> Image.Image:
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    return Image.fromarray(np.stack([200 - y // 8 * 8, 150 - x // 8 * 8, 90 + 0 * x], axis=2).astype(np.uint8))


def encoded(picture: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def images() -> dict[str, bytes]:
    """Every format, in every variant that takes another path through its decoder or through spot-edge."""
    rgb, exif = drawn(), Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    exif.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    grey, palette, clear = rgb.convert("L"), rgb.quantize(8), rgb.convert("RGBA")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    bits, cmyk = grey.convert("1"), rgb.convert("CMYK")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    hole = clear.copy()
    hole.putpixel((3, 3), (0, 0, 0, 0))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="8"/></x:xmpmeta>'
    mpo = encoded(rgb, "MPO", save_all=True, append_images=[rgb], quality=30)
    return {
        "jpeg": encoded(rgb, "JPEG", quality=50),
        "jpeg-exif": encoded(rgb, "JPEG", quality=50, exif=exif, comment=b"note"),
        "jpeg-progressive": encoded(rgb, "JPEG", quality=50, progressive=True),
        "jpeg-grey-icc": encoded(grey, "JPEG", quality=50, icc_profile=profile),
        "jpeg-cmyk": encoded(cmyk, "JPEG", quality=50),
        "jpeg-mpo": mpo,
        "png": encoded(rgb, "PNG", exif=exif),
        "png-palette": encoded(palette, "PNG", transparency=7),
        "png-deep": encoded(deep, "PNG"),
        "png-bits": encoded(bits, "PNG"),
        "png-clear": encoded(clear, "PNG"),
        "png-hole": encoded(hole, "PNG"),
        "png-icc": encoded(rgb, "PNG", icc_profile=profile),
        "png-animated": encoded(rgb, "PNG", save_all=True, append_images=[hole.convert("RGB")]),
        "gif": encoded(palette, "GIF"),
        "gif-animated": encoded(palette, "GIF", save_all=True, append_images=[rgb.rotate(90).quantize(8)]),
        "webp": encoded(rgb, "WEBP", quality=30, exif=exif, xmp=xmp),
        "webp-lossless": encoded(clear, "WEBP", lossless=True),
        "webp-animated": encoded(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(90)], quality=10),
        "bmp": encoded(palette, "BMP"),
        "bmp-bits": encoded(bits, "BMP"),
        "bmp-runs": run_length_bmp(),
        "tiff-deflate": encoded(rgb, "TIFF", compression="tiff_deflate", exif=exif),
        "tiff-lzw": encoded(palette, "TIFF", compression="tiff_lzw"),
        "tiff-packbits": encoded(grey, "TIFF", compression="packbits"),
        "tiff-jpeg": encoded(rgb, "TIFF", compression="jpeg", quality=50),
        "tiff-fax": encoded(bits, "TIFF", compression="group4"),
        "tiff-deep": encoded(deep, "TIFF", compression="tiff_deflate"),
        "tiff-cmyk": encoded(cmyk, "TIFF", compression="tiff_deflate", icc_profile=profile),
        "tiff-tiled": tiled_tiff(np.asarray(grey)),
        "tiff-pages": encoded(bits, "TIFF", compression="group4", save_all=True, append_images=[bits]),
    }


def tiled_tiff(grey: np.ndarray) -> bytes:
    """A big-endian TIFF of four tiles, which Pillow cannot write."""
    padded = np.zeros((64, 64), np.uint8)
    padded[:SIDE, :SIDE] = grey
    tiles = [padded[y : y + 32, x : x + 32].tobytes() for y in (0, 32) for x in (0, 32)]
    first = 8 + 2 + 12 * 9 + 4
    offsets, counts = first + 32, (1024,) * 4
    tags = [(256, 4, 1, SIDE), (257, 4, 1, SIDE), (258, 4, 1, 8), (259, 4, 1, 1), (262, 4, 1, 1)]
    tags += [(322, 4, 1, 32), (323, 4, 1, 32), (324, 4, 4, first), (325, 4, 4, first + 16)]
    directory = struct.pack(">H", len(tags)) + b"".join(struct.pack(">HHII", *tag) for tag in tags) + bytes(4)
    lists = struct.pack(">8I", *(offsets + 1024 * index for index in range(4)), *counts)
    return b"MM\0*" + struct.pack(">I", 8) + directory + lists + b"".join(tiles)


def run_length_bmp() -> bytes:
    """A BMP of runs, literal pixels, an end of line, a jump and the end, which Pillow cannot write."""
    rows = (
        b"".join(bytes([30, level % 4, 0, 10, *range(10), 0, 0]) for level in range(SIDE - 2)) + b"\1\2\0\0\0\2\3\1\0\1"
    )
    palette = bytes(16 * 4)
    header = struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 8, 1, len(rows), 0, 0, 16, 0)
    first = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", first + len(rows), 0, 0, first) + header + palette + rows


def specs() -> dict[str, bytes]:
    drift = Drift("undecided", "0123", "nothing", (Criterion("recall", 0.02, -0.01, 0.05, 0.015, 61, "fail", 2000),))
    least = SPEC._replace(operating_points=(), conformal=None, image_quality=None, training={})
    return {"full": render_spec(SPEC._replace(drift=drift, notice="An aid.")), "least": render_spec(least)}


def frames() -> dict[str, bytes]:
    jpeg = encoded(drawn(), "JPEG", quality=50)
    at = jpeg.index(b"\xff\xc4")
    while jpeg[at + 1] == 0xC4:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        jpeg, at = jpeg[:at] + jpeg[end:], at
    yuyv = frame.LAYOUT.pack(b"\0YUYV\0", 34, 33, 70, 3, 2, 1) + bytes(range(66)) * 36
    return {
        "whole": encoded(drawn(), "JPEG", quality=50),
        "padded": bytes(9) + encoded(drawn(), "JPEG", quality=50, progressive=True) + bytes(90),
        "without-tables": jpeg,
        "restarts": encoded(drawn(), "JPEG", quality=50, restart_marker_rows=1),
        "yuyv": yuyv,
    }


def sessions() -> dict[str, bytes]:
    """The replies of the camera tests' scripted kernel, in the order of the requests."""
    scripted = scripted_kernel()
    jpeg = encoded(drawn().resize((8, 8)), "JPEG", quality=30)
    controls = {
        0x0098090C: [2, b"White Balance, Automatic", 0, 1, 1, 1, 1],
        0x009A0901: [3, b"Auto Exposure", 0, 3, 1, 3, 3],
        0x009A090A: [1, b"Focus, Absolute", 0, 255, 5, 0, 40],
        0x009AFFFF: [4, b"Snapshot Button", 0, 0, 0, 0, 0],
    }
    found = {}
    for name, choice, form, size in (
        ("listing", 0x00, "MJPG,YUYV", None),
        ("mjpeg", 0x42, "MJPG", None),
        ("locked", 0x40, "MJPG,H264", None),
        ("focus", 0xFD, "MJPG", None),
        ("yuyv", 0x42, "YUYV", (6, 4)),
    ):
        content = jpeg if "MJPG" in form else bytes(range(48))
        kernel = recorder(scripted)(*[(content, 0, 0.0)] * 14, form=form)
        kernel.controls, kernel.size = dict(controls), size
        kernel.choice = choice
        if choice < 0x40:
            list_cameras(kernel)
        else:
            lock = {0: None, 1: True, 2: False}[choice % 3]
            with Camera("auto", kernel=kernel, controls={"focus": 40} if choice >= 0x80 else {}, lock=lock) as camera:
                next(camera)
        found[name] = bytes([choice]) + bytes(kernel.recorded)
    return found


def recorder(scripted: Any) -> Any:
    class Recorder(scripted):  # type: ignore[misc]
        """A scripted kernel that records its replies for `fuzzed.driver`; a buffer is recorded as its frame."""

        def __init__(self, *frames: Any, **options: Any) -> None:
            super().__init__(*frames, **options)
            self.recorded = bytearray()

        def open(self, path: str) -> int:
            self.recorded += b"\0"
            return int(super().open(path))

        def ioctl(self, handle: int, request: int, data: bytearray) -> None:
            try:
                super().ioctl(handle, request, data)
            except OSError as error:
                self.recorded += bytes([error.errno or 1])
                raise
            self.recorded += b"\0" + data

        def map(self, handle: int, length: int, offset: int) -> Any:
            content = self.frames[0][0]
            self.recorded += b"\0" + struct.pack("<H", len(content)) + content
            return super().map(handle, length, offset)

        def wait(self, handle: int, seconds: float) -> bool:
            ready = bool(super().wait(handle, seconds))
            self.recorded += b"\0" if ready else b"\1"
            return ready

    return Recorder


def scripted_kernel() -> Any:
    place = HERE.parent / "edge_runtime" / "camera" / "conftest.py"
    found = importlib.util.spec_from_file_location("camera_conftest", place)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.Scripted


def main() -> int:
    """Write the corpus and print the size of each target's seeds."""
    made = {
        "image": images(),
        "model": {"whole": tiny_model(), "flatbuffer": tiny_flatbuffer(), "zip": tiny_embedding()},
        "spec": specs(),
        "embedding": {"whole": tiny_embedding()},
        "frame": frames(),
        "driver": sessions(),
    }
    total = 0
    for target, seeds in made.items():
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in seeds.items():
            assert len(content) <= TARGETS[target].LONGEST, (target, name, len(content))
            (folder / name).write_bytes(content)
            total += len(content)
        print(f"{target}: {len(seeds)} seeds, the longest of {max(map(len, seeds.values()))} bytes")
    print(f"{total} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
