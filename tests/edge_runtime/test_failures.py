"""Whatever happens while one image is classified, the others are: no memory, no threads, a bug."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spot_edge.camera.camera import Camera
from spot_edge.commands import failures
from spot_edge.commands.failures import failure_of
from spot_edge.commands.workers import in_order
from spot_edge.errors import CameraError, InputError
from spot_edge.image.formats import webp_size
from spot_edge.image.source import Source
from spot_edge.image.tensor import decode, prepare
from spot_edge.model.spec import ImageSpec

# Lines of Python that make a function fail for the image "bad.png" as long as the file "fails" exists.
FAILS = """
import os
import {module} as module
whole = module.{name}
def fails(*arguments, **options):
    if "bad.png" in str(arguments) and os.path.exists({flag!r}):
        raise {error}
    return whole(*arguments, **options)
module.{name} = fails
"""
NO_MEMORY = b"bad.png: not enough memory: close other programs, or save a smaller version\n"


@pytest.fixture
def images(tmp_path: Path, lesion: bytes) -> Path:
    (tmp_path / "in").mkdir()
    for name in ("a", "bad", "c"):
        (tmp_path / "in" / f"{name}.png").write_bytes(lesion)
    (tmp_path / "fails").touch()
    return tmp_path / "in"


@pytest.fixture
def failing(start, images: Path):
    """failing(module, name, error, *arguments): the exit code, output and errors of a run in which a function fails."""

    def run(module: str, name: str, error: str, *arguments: object) -> tuple[int, bytes, bytes]:
        flag = str(images.parent / "fails")
        before = FAILS.format(module=module, name=name, error=error, flag=flag)
        before += f"\nimport tempfile; tempfile.tempdir = {str(images.parent)!r}"  # for the log
        running = start("classify", *arguments, before=before)
        output, errors = running.communicate()
        assert b"Traceback" not in errors
        return running.returncode, output, errors

    return run


def names(path: Path) -> list[str]:
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return [Path(row["source"]).name for row in csv.DictReader(file)]
    return [Path(json.loads(line)["source"]["name"]).name for line in path.read_text().splitlines()]


WHERE = [
    ("spot_edge.image.tensor", "_decode", "json"),
    ("spot_edge.image.tensor", "open_image", "csv"),
    ("spot_edge.image.source", "read_file", "json"),
    ("spot_edge.classifier", "prepare", "csv"),
]


@pytest.mark.parametrize(("module", "name", "form"), WHERE)
def test_an_image_without_memory_fails_alone_and_is_tried_again(module, name, form, failing, images, tmp_path) -> None:
    out = tmp_path / f"out.{form}"
    command = [images, f"--{form}", "--out", out]
    code, _, errors = failing(module, name, "MemoryError", *command)
    assert (code, errors.count(b"\n")) == (3, 3)
    assert errors.splitlines(True)[0].endswith(NO_MEMORY)
    assert names(out) == ["a.png", "c.png"]
    code, _, errors = failing(module, name, "MemoryError", *command, "--resume")
    assert (code, names(out)) == (3, ["a.png", "c.png"])
    (tmp_path / "fails").unlink()
    code, _, errors = failing(module, name, "MemoryError", *command, "--resume")
    assert (code, names(out)) == (0, ["a.png", "c.png", "bad.png"])


def test_the_stream_has_a_line_for_each_image(failing, images) -> None:
    code, output, _ = failing("spot_edge.image.tensor", "_decode", "MemoryError", images, "--json")
    assert (code, [("error" in json.loads(line)) for line in output.splitlines()]) == (3, [False, True, False])


@pytest.mark.parametrize(
    ("error", "threads"),
    [("KeyError('odd')", "1"), ("RecursionError", "2"), ("OSError(5, 'x')", "1"), ("ZeroDivisionError('a\\nb')", "2")],
)
def test_a_bug_fails_one_image_and_leaves_a_log(error: str, threads: str, failing, images, lesion) -> None:
    for number in range(8):
        (images / f"d{number}.png").write_bytes(lesion)
    code, output, errors = failing("spot_edge.classifier", "prepare", error, images, "--csv", "--threads", threads)
    assert (code, len(output.splitlines()), errors.count(b"\n")) == (3, 12, 2)
    log = re.search(r"bad\.png: a bug in spot-edge \(.*\): please report (.*\.log)\n", errors.decode())
    assert log is not None
    text = Path(log[1]).read_text()
    assert Path(log[1]).stat().st_mode & 0o777 == 0o600
    assert "Traceback (most recent call last)" in text
    assert "in fails" in text


def test_a_bug_where_no_log_can_be_written(start, images, tmp_path) -> None:
    flag = str(tmp_path / "fails")
    before = FAILS.format(module="spot_edge.classifier", name="prepare", error="KeyError('odd')", flag=flag)
    before += "\nimport tempfile\ntempfile.mkstemp = open"
    running = start("classify", images, before=before.replace("= open", "= lambda *_: open('/')"))
    _, errors = running.communicate()
    assert running.returncode == 3
    assert b"bad.png: a bug in spot-edge (KeyError: 'odd'): please report it\n" in errors


@pytest.mark.parametrize(("error", "said"), [("MemoryError", b"not enough memory"), ("KeyError(1)", b"a bug in")])
def test_a_burst_goes_on_without_the_image(error: str, said: bytes, failing, images) -> None:
    code, output, errors = failing("spot_edge.image.tensor", "_decode", error, images, "--burst", "3", "--json")
    good, bad = map(json.loads, output.splitlines())
    assert (code, good["burst"]["frames"]) == (3, 2)
    assert said in errors
    assert "bad.png" in bad["error"]


@pytest.mark.parametrize("option", ["--save", "--heatmap"])
def test_results_that_cannot_be_made(option: str, failing, images, tmp_path) -> None:
    """The image is classified, but there is no memory to encode it."""
    made = "spot_edge.commands.records", "ResultFiles.results"
    code, output, errors = failing(*made, "MemoryError", images, option, tmp_path / "kept", "--json")
    assert (code, ["error" in json.loads(line) for line in output.splitlines()]) == (3, [False, True, False])
    assert errors.splitlines(True)[0].endswith(NO_MEMORY)
    assert {path.name.partition(".")[0] for path in (tmp_path / "kept").iterdir()} == {"a", "c"}


def test_profiles_and_orientation_are_not_ignored_for_lack_of_memory(monkeypatch, draw, encode) -> None:
    from PIL import ImageCms

    from spot_edge.image import tensor

    def none(*_: object, **__: object) -> None:
        raise MemoryError

    exif = Image.Exif()
    exif[0x0112] = 6
    rotated = encode(draw(120, 90), "JPEG", exif=exif)
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "getexif", none)
        with pytest.raises(InputError, match="not enough memory"):
            tensor.decode(rotated, "x")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    monkeypatch.setattr(ImageCms, "buildTransform", none)
    with pytest.raises(InputError, match="not enough memory"):
        tensor.decode(encode(draw(120, 90), "JPEG", icc_profile=profile), "x")


LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))"


@pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: a limit on memory that only Linux enforces")
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_real_limit_on_memory(form: str, start, tmp_path, lesion) -> None:
    """Three images, the second of which needs more than there is."""
    for name in ("a", "c"):
        (tmp_path / f"{name}.png").write_bytes(lesion)
    options = {"JPEG": {"progressive": True}, "PNG": {"compress_level": 1}, "WEBP": {"method": 0, "quality": 10}}
    Image.new("RGB", (7000, 7000), (180, 120, 100)).save(tmp_path / "b.png", form, **options[form])
    out = tmp_path / "out.jsonl"
    command = ["classify", *(tmp_path / f"{name}.png" for name in "abc"), "--json", "--out", out, "--threads", "1"]
    running = start(*command, before=LIMITED)
    _, errors = running.communicate()
    assert b"Traceback" not in errors
    assert b"damaged" not in errors
    if running.returncode == 5:  # not even enough to load the model, which depends on the machine
        assert errors.count(b"\n") == 1
        assert not out.exists()
    else:
        assert (running.returncode, names(out)) == (3, ["a.png", "c.png"])
    running = start(*command, "--resume")
    running.communicate()
    assert (running.returncode, sorted(names(out))) == (0, ["a.png", "b.png", "c.png"])


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}])
def test_the_size_in_the_header_of_a_webp(options: dict[str, object], draw, encode) -> None:
    assert webp_size(encode(draw(301, 77), "WEBP", **options)) == (301, 77)
    assert webp_size(encode(draw(301, 77), "WEBP", **options)[:29]) == (0, 0)


def test_a_reading_error_that_may_pass_is_tried_again(monkeypatch) -> None:
    for number, transient in ((12, True), (24, True), (5, True), (13, False)):

        def fail(*_: object, number: int = number) -> None:
            raise OSError(number, "x")

        monkeypatch.setattr("spot_edge.image.source.read_file", fail)
        with pytest.raises(InputError) as raised:
            Source.of("x").read()
        assert raised.value.transient == transient


def test_a_folder_as_a_camera_skips_no_image_for_lack_of_memory(images: Path, monkeypatch) -> None:
    def none(*_: object) -> None:
        raise InputError.out_of_memory("a.png")

    monkeypatch.setattr("spot_edge.image.tensor.decode", none)
    with Camera(str(images)) as camera, pytest.raises(CameraError, match="not enough memory") as raised:
        next(camera)
    assert raised.value.transient


def test_an_opened_image_without_memory_is_not_damaged(monkeypatch, lesion) -> None:
    def none(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "copy", none)
    with pytest.raises(InputError, match="array: not enough memory") as raised:
        prepare(Source.of(Image.open(io.BytesIO(lesion))), ImageSpec(48))
    assert raised.value.transient


@pytest.mark.parametrize("function", ["check_tags", "open_image", "_upright"])
def test_decode_raises_an_input_error_without_memory(function: str, monkeypatch, lesion) -> None:
    def none(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(f"spot_edge.image.tensor.{function}", none)
    with pytest.raises(InputError, match=r"a\.png: not enough memory") as raised:
        decode(lesion, "a.png")
    assert raised.value.transient


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EMFILE, errno.EIO])
def test_a_folder_as_a_camera_skips_no_image_that_cannot_be_read_now(number: int, images: Path, monkeypatch) -> None:
    whole, failed = os.open, []

    def fail(path: str, *arguments: Any) -> int:
        if str(path).endswith("bad.png") and not failed:
            failed.append(path)
            raise OSError(number, os.strerror(number))
        return whole(path, *arguments)

    monkeypatch.setattr("spot_edge.files.os.open", fail)
    with Camera(str(images)) as camera:
        next(camera)
        with pytest.raises(CameraError, match=f"bad.png: cannot be read: {os.strerror(number)}") as raised:
            next(camera)
        assert raised.value.transient
        assert len(list(camera)) == 3  # from its first image again


@pytest.mark.parametrize("function", ["complete_jpeg", "encode"])
def test_a_folder_as_a_camera_without_memory_for_a_frame(
    function: str, images: Path, monkeypatch, draw, encode
) -> None:
    def none(*_: object) -> None:
        raise MemoryError

    if function == "complete_jpeg":
        (images / "a.png").write_bytes(encode(draw(120, 90), "JPEG"))
    monkeypatch.setattr(f"spot_edge.camera.folder.{function}", none)
    with Camera(str(images)) as camera, pytest.raises(CameraError, match=r"a\.png: not enough memory") as raised:
        next(camera)
    assert raised.value.transient


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_a_system_that_allows_few_threads(allowed: int, monkeypatch) -> None:
    begin, started = threading.Thread.start, []

    def start(thread: threading.Thread) -> None:
        if len(started) == allowed:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    assert list(in_order(range(20), [lambda job: job * 2] * 3, lambda job: 0)) == list(range(0, 40, 2))


def test_bugs_at_the_same_time_make_one_log(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(failures, "_log", None)
    monkeypatch.setattr(failures, "_most", 20)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    make = tempfile.mkstemp

    def slowly(*arguments: str) -> tuple[int, str]:
        time.sleep(0.2)
        return make(*arguments)

    monkeypatch.setattr(tempfile, "mkstemp", slowly)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda number: str(failure_of(KeyError(number), f"{number}.png")), range(30)))
    (log,) = tmp_path.iterdir()
    assert all(str(log) in each for each in found)
    assert log.read_text().count("KeyError") == 20
