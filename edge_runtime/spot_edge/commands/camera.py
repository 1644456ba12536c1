"""`spot-edge camera`: list cameras, take a picture, and help to adjust focus and light."""

from __future__ import annotations

import gc
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from spot_edge.camera.camera import Camera
from spot_edge.camera.listing import Listed, list_cameras
from spot_edge.camera.pi import has_pi_camera
from spot_edge.camera.v4l2 import Kernel
from spot_edge.commands.options import camera_options
from spot_edge.errors import CameraError, InputError, one_line
from spot_edge.files import write_file, write_new_files
from spot_edge.image.inputs import unique_name

__all__ = ["camera"]

_PAUSE = 0.5  # seconds between attempts to open a missing camera


@click.group(short_help="List cameras, take a picture, adjust focus and light.")
def camera() -> None:
    """List cameras, take a picture, adjust focus and light.

    DEVICE is auto (the first USB camera, else the Pi camera), pi, a path such as /dev/video0, or a folder or file with
    images. Camera controls keep their values until the camera is unplugged.
    """
    gc.enable()


@camera.command("list", short_help="Show each camera with its formats, sizes and controls.")
def list_() -> None:
    """Show each camera with its formats, sizes and controls."""
    found = list_cameras(Kernel())
    shown = ["\n".join(one_line(line) for line in _lines(listed)) for listed in found if not listed.problem]
    if has_pi_camera():
        shown.append("pi  the Pi camera")
    for text in shown:
        click.echo(text)
    problems = [listed.problem for listed in found if listed.problem]
    for problem in problems:
        click.echo(f"spot-edge: {one_line(str(problem))}", err=True)
    if not shown and not problems:
        raise CameraError("no camera found: plug one in", transient=True)
    if not shown:
        raise click.exceptions.Exit(CameraError.exit_code)


@camera.command(short_help="Take one picture and save it as the camera encoded it.")
@camera_options
@click.option("-o", "--out", metavar="FILE", help="Output file, - for stdout [default: capture-DATE-TIME.jpg].")
def capture(source: Camera, out: str | None) -> None:
    """Take one picture and save it as the camera encoded it."""
    with source:
        picture = next(source)
        taken_by = source.opened
    if out == "-":
        sys.stdout.buffer.write(picture)
        return
    path = Path(out) if out else _save_under_free_name(picture)
    if out:
        write_file(path, picture)
    click.echo(one_line(f"{taken_by}: {path}, {len(picture) / 1000:.0f} kB"))


@camera.command(short_help="Show frame rate, sharpness and light, once a second.")
@camera_options
@click.option("--seconds", type=click.FloatRange(0.1), default=math.inf, help="Stop after this time [default: never].")
def preview(source: Camera, seconds: float) -> None:
    """Show frame rate, sharpness and light, once a second, until Ctrl-C.

    Turn the focus until sharpness is highest. Too bright and too dark are shares of the pixels in the central half.
    If the camera is unplugged, the command waits for it.
    """
    with source, suppress(KeyboardInterrupt):
        _watch(source, seconds)
    if sys.stdout.isatty():
        click.echo()


def _save_under_free_name(picture: bytes) -> Path:
    """Save the picture under a new name with the time: a clock without a battery repeats its times after each start."""
    stem, taken = time.strftime("capture-%Y%m%d-%H%M%S"), set[str]()
    with suppress(OSError):  # writing reports a missing folder
        taken |= {name.rpartition(".")[0].casefold() for name in os.listdir() if name.startswith("capture-")}
    while True:
        path = Path(unique_name(stem, taken) + ".jpg")
        if write_new_files([(path, picture)]):
            return path


def _watch(source: Camera, seconds: float) -> None:
    from spot_edge.camera.focus import read_quality
    from spot_edge.image.tensor import decode

    best, reported, end = 0.0, "", time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            picture, rate = _second(source)
            if picture is None:
                return
            reading = read_quality(decode(picture, source.opened)[0])
        except (CameraError, InputError) as error:
            if not getattr(error, "transient", True):
                raise
            if str(error) != reported:
                reported = str(error)
                click.echo(f"spot-edge: {one_line(reported)}", err=True)
            time.sleep(_PAUSE)
            continue
        best, reported = max(best, reading.sharpness), ""
        line = (
            f"{rate:5.1f} frames/s  {reading.width}x{reading.height}  {len(picture) / 1000:.0f} kB  "
            f"sharpness {reading.sharpness:.1f} (best {best:.1f})  brightness {reading.brightness:.0f}  "
            f"too bright {100 * reading.too_bright:.0f} %  too dark {100 * reading.too_dark:.0f} %"
        )
        if sys.stdout.isatty():
            click.echo(f"\r{line}\033[K", nl=False)
        else:
            click.echo(line)


def _second(source: Camera) -> tuple[bytes | None, float]:
    """Read frames for one second. Returns the last one (None if there are no more) and the frame rate."""
    last, count, start, now = None, 0, 0.0, 0.0
    for picture in source:
        last, count, now = picture, count + 1, time.monotonic()
        start = start or now
        if now - start >= 1:
            break
    return last, (count - 1) / (now - start) if now > start else 0.0


def _lines(listed: Listed) -> Iterator[str]:
    yield f"{listed.path}  {listed.name}  ({listed.bus})"
    for form, sizes in listed.formats.items():
        yield f"  {form}  {' '.join(sizes)}"
    for control in listed.controls:
        if control.button:
            yield f"  {control.name}  button"
        else:
            yield f"  {control.name}={control.value}  {control.low} to {control.high}, default {control.default}"
