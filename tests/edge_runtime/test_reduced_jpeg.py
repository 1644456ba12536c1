"""The geometry "stretch-reduced-jpeg": large JPEGs are decoded at a reduced size, everything else as by "stretch"."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spot_edge.classifier import Classifier
from spot_edge.errors import InputError, ModelError
from spot_edge.image.source import Source
from spot_edge.image.tensor import Prepared, decode, prepare, reduction_of
from spot_edge.model.file import seal
from spot_edge.model.spec import ImageSpec
from spot_edge.model.spec_json import parse_spec, render_spec

FULL = ImageSpec(48)
REDUCED = ImageSpec(48, "stretch-reduced-jpeg")
FINEST = 3 * 48


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    """Soft colours with a corner that is brighter, so that no two orientations look alike. Its sides divide by 16."""
    random = np.random.default_rng(3)
    small = random.integers(90, 170, (9, 12, 3)).astype(np.uint8)
    small[:3, :4] += 60
    return Image.fromarray(small).resize((1536, 1152), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def large_model(model, flatbuffer, tmp_path_factory) -> Path:
    """The embedded model with the reduced geometry."""
    spec = model.spec._replace(image=model.spec.image._replace(geometry="stretch-reduced-jpeg"))
    path = tmp_path_factory.mktemp("model") / "spot.tflite"
    extra = {name: content for name, content in model.members.items() if name not in ("labels.txt", "spot.json")}
    path.write_bytes(seal(flatbuffer, spec, extra))
    return path


def both(data: bytes) -> tuple[Prepared, Prepared]:
    return prepare(Source.of(data), FULL), prepare(Source.of(data), REDUCED)


def distance(first: Prepared, second: Prepared) -> float:
    return float(np.abs(first.tensor.astype(int) - second.tensor).mean())


@pytest.mark.parametrize(
    ("width", "height", "reduction"),
    [
        (8 * 192, 8 * FINEST, 8),
        (16 * 192, 16 * FINEST, 8),  # no decoder divides by 16
        (8 * 192 - 8, 8 * FINEST - 8, 4),
        (4 * 192, 4 * FINEST, 4),
        (4 * 192 - 4, 4 * FINEST - 4, 2),
        (2 * 192, 2 * FINEST, 2),
        (2 * 192 - 2, 2 * FINEST - 2, 1),
        (1537, 1152, 1),  # an odd side
        (1540, 1156, 4),  # divides by 4, not by 8
        (1538, 1154, 2),
        (1152, 1152, 4),  # cropped to 1152x864
        (2048, 1152, 8),  # cropped to 1536x1152
        (1152, 1536, 4),  # cropped to 1152x864
    ],
)
def test_the_reduction_of_each_size(width: int, height: int, reduction: int) -> None:
    assert reduction_of(width, height, REDUCED) == reduction
    assert reduction_of(width, height, FULL) == 1


def test_a_reduced_image_has_three_pixels_for_each_of_the_network_and_no_more_than_needed() -> None:
    for spec in (REDUCED, ImageSpec(192, "stretch-reduced-jpeg")):
        for width in range(96, 6000, 48):
            for height in (width, 3 * width // 4, 9 * width // 16, 4 * width // 3):
                reduction = reduction_of(width, height, spec)
                crop = prepare_crop(width, height)
                assert reduction == 1 or min(crop) >= 3 * spec.size * reduction
                larger = 2 * reduction
                if larger <= 8 and width % larger == height % larger == 0:
                    assert min(crop) < 3 * spec.size * larger


def prepare_crop(width: int, height: int) -> tuple[int, int]:
    """The sides of the part that is used, from the documented rule."""
    if width / height < 1.2:
        return width, (3 * width + 2) // 4
    if width / height > 1.5:
        return (4 * height + 1) // 3, height
    return width, height


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("size", [(1536, 1152), (1536, 768), (1152, 1152)])
def test_a_reduced_image_gives_almost_the_same_tensor(scene, encode, size, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    full, reduced = both(encode(scene.resize(size), "JPEG", quality=95, exif=exif))
    assert reduced.reduction > 1
    assert distance(full, reduced) < 0.6
    assert int(np.abs(full.tensor.astype(int) - reduced.tensor).max()) <= 4
    assert distance(full, prepare(Source.of(np.asarray(full.image)[::-1]), FULL)) > 5  # the measure can fail
    record = reduced.as_dict()
    assert record.pop("reduction") == reduced.reduction
    assert record | {"geometry": "stretch"} == full.as_dict()
    assert reduced.image.size == tuple(side // reduced.reduction for side in full.image.size)
    assert np.array_equal(np.asarray(reduced.full_image()), np.asarray(full.image))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_every_kind_of_jpeg_is_reduced(scene, encode, mode: str, progressive: bool) -> None:
    full, reduced = both(encode(scene.convert(mode), "JPEG", quality=95, progressive=progressive))
    assert reduced.reduction == 8
    assert distance(full, reduced) < 0.6


@pytest.mark.parametrize("size", [(382, 286), (383, 288), (1537, 1153), (60, 45), (286, 382)])
def test_images_below_the_limit_keep_every_bit(scene, encode, size) -> None:
    full, reduced = both(encode(scene.resize(size), "JPEG"))
    assert reduced.reduction == 1
    assert np.array_equal(full.tensor, reduced.tensor)
    assert reduced.as_dict() == full.as_dict() | {"geometry": "stretch-reduced-jpeg"}
    assert reduced.full_image() is reduced.image


def test_only_jpegs_are_reduced(scene, encode) -> None:
    for thing in (encode(scene, "PNG", compress_level=1), encode(scene, "BMP"), np.asarray(scene)):
        full, reduced = (prepare(Source.of(thing), spec) for spec in (FULL, REDUCED))
        assert reduced.reduction == 1
        assert np.array_equal(full.tensor, reduced.tensor)


def test_a_jpeg_with_an_unusual_start_keeps_its_size(scene, encode) -> None:
    data = encode(scene, "JPEG")
    full, reduced = both(data[:2] + b"\xff" + data[2:])  # a fill byte before a marker
    assert reduced.reduction == 1
    assert np.array_equal(full.tensor, reduced.tensor)


def test_a_lossless_jpeg_is_never_reduced() -> None:
    """Its decoder may ignore the reduction, and write rows of the full width into the buffer of a reduced image."""
    width, height = 1536, 1152
    frame = struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\1\x11\0"
    codes = b"\0\x14\0\1" + bytes(15) + b"\0"  # one code of one bit: the pixel is as predicted
    start = b"\xff\xd8\xff\xc3" + frame + b"\xff\xc4" + codes + b"\xff\xda\0\x08\1\1\0\1\0\0"
    data = start + bytes(width * height // 8) + b"\xff\xd9"
    try:
        expected = prepare(Source.of(data), FULL)
    except InputError as error:  # the decoder does not know lossless JPEGs
        with pytest.raises(InputError, match=re.escape(str(error))):
            prepare(Source.of(data), REDUCED)
    else:
        assert np.array_equal(prepare(Source.of(data), REDUCED).tensor, expected.tensor)


def test_the_full_image_is_the_one_that_was_prepared(scene, encode, tmp_path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(scene, "JPEG"))
    prepared = prepare(Source.of(path), REDUCED)
    expected = np.asarray(decode(path.read_bytes(), "photo")[0])
    path.write_bytes(encode(scene.rotate(180), "JPEG"))
    assert prepared.reduction == 8
    assert np.array_equal(np.asarray(prepared.full_image()), expected)


def test_decode_returns_the_full_size(scene, encode) -> None:
    assert decode(encode(scene, "JPEG"), "photo")[0].size == scene.size


def test_a_truncated_large_jpeg_is_refused(scene, encode) -> None:
    data = encode(scene, "JPEG")
    with pytest.raises(InputError, match="damaged image"):
        prepare(Source.of(data[: len(data) // 2]), REDUCED)


def test_the_limit_of_pixels_is_that_of_the_full_size(scene, encode) -> None:
    """A progressive JPEG needs memory for every coefficient, whatever size it is decoded to."""
    data = encode(scene, "JPEG")
    at = data.index(b"\xff\xc0") + 5
    with pytest.raises(InputError, match="more than 50 megapixels"):
        prepare(Source.of(data[:at] + b"\x20\x00\x20\x00" + data[at + 4 :]), REDUCED)


def test_the_geometry_survives_writing_and_reading(model) -> None:
    spec = model.spec._replace(image=model.spec.image._replace(geometry="stretch-reduced-jpeg"))
    assert parse_spec(render_spec(spec), "model") == spec


def test_an_unknown_geometry_is_refused(model) -> None:
    data = json.loads(render_spec(model.spec))
    data["image"]["geometry"] = "stretch-reduced-png"
    with pytest.raises(ModelError, match=r"image\.geometry must be one of stretch, stretch-reduced-jpeg"):
        parse_spec(json.dumps(data).encode(), "model")


def test_classify_reduces_what_its_model_file_asks_for(large_model, scene, encode, tmp_path, spot_edge) -> None:
    """The prediction counts pixels of the full size, and the saved image has it."""
    photo, out = tmp_path / "photo.jpg", tmp_path / "kept"
    photo.write_bytes(encode(scene, "JPEG", quality=95))
    printed = spot_edge("classify", photo, "--model", large_model, "--json", "--save", out)
    image = json.loads(printed.stdout)["image"]
    expected = {"width": 1536, "height": 1152, "orientation": 1, "crop": None, "size": 192, "reduction": 2}
    assert image == expected | {"geometry": "stretch-reduced-jpeg", "filter": "bilinear-antialias"}
    with Image.open(out / "photo.jpg") as saved:
        assert saved.size == (1536, 1152)
    both_scores = [
        {each.label: each.score for each in one.classify(photo).ranked}
        for one in (Classifier.load(large_model), Classifier.load())
    ]
    assert both_scores[0] == pytest.approx(both_scores[1], abs=0.05)
