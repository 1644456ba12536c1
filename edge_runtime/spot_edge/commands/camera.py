"""`spot-edge camera`: which cameras there are, one picture, and figures to set focus and light by."""

from __future__ import annotations

import gc
import math
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
from spot_edge.files import write_file
from spot_edge.image.inputs import unique_name

__all__ = ["camera"]

_PAUSE = 0.5  # seconds between looking for a camera that has gone


@click.group()
def camera() -> None:
    """List cameras, take a picture, watch focus and light.

    DEVICE is auto (the first USB camera, else the Pi's own), pi, a device such as /dev/video0, or a folder or file of
    pictures. Controls that are set or locked stay so until the camera is unplugged.
    """
    gc.enable()


@camera.command("list")
def list_() -> None:
    """Show every camera with its formats, sizes and controls."""
    found = list_cameras(Kernel())
    shown = ["\n".join(one_line(line) for line in _lines(listed)) for listed in found if not listed.problem]
    if has_pi_camera():
        shown.append("pi  the Pi's own camera")
    for text in shown:
        click.echo(text)
    problems = [listed.problem for listed in found if listed.problem]
    for problem in problems:
        click.echo(f"spot-edge: {one_line(str(problem))}", err=True)
    if not shown and not problems:
        raise CameraError("no camera found: plug one in", transient=True)
    if not shown:
        raise click.exceptions.Exit(CameraError.exit_code)


@camera.command()
@camera_options
@click.option("-o", "--out", metavar="FILE", help="Where to, - for standard output [capture-DATE-TIME.jpg].")
def capture(source: Camera, out: str | None) -> None:
    """Take one picture and keep it as the camera encoded it."""
    with source:
        picture = next(source)
        taken_by = source.opened
    if out == "-":
        sys.stdout.buffer.write(picture)
        return
    path = Path(out or _free_name())
    write_file(path, picture)
    click.echo(one_line(f"{taken_by}: {path}, {len(picture) / 1000:.0f} kB"))


@camera.command()
@camera_options
@click.option("--seconds", type=click.FloatRange(0.1), default=math.inf, help="Stop after so long [Ctrl-C stops].")
def preview(source: Camera, seconds: float) -> None:
    """Show rate, sharpness and light of the camera, once a second, until Ctrl-C.

    Turn the focus until sharpness is at its best; too bright and too dark are shares of the central half's pixels. A
    camera that is unplugged is waited for.
    """
    with source, suppress(KeyboardInterrupt):
        _watch(source, seconds)
    if sys.stdout.isatty():
        click.echo()


def _free_name() -> str:
    """A file name by the time that no capture has: a clock without a battery tells the same time after each start."""
    taken = {path.stem.casefold() for path in Path().glob("capture-*")}
    return unique_name(time.strftime("capture-%Y%m%d-%H%M%S"), taken) + ".jpg"


def _watch(source: Camera, seconds: float) -> None:
    from spot_edge.camera.focus import read_quality
    from spot_edge.image.tensor import decode

    best, said, end = 0.0, "", time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            picture, rate = _second(source)
            if picture is None:
                return
            reading = read_quality(decode(picture, source.opened)[0])
        except (CameraError, InputError) as error:
            if not getattr(error, "transient", True):
                raise
            if str(error) != said:
                said = str(error)
                click.echo(f"spot-edge: {one_line(said)}", err=True)
            time.sleep(_PAUSE)
            continue
        best, said = max(best, reading.sharpness), ""
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
    """The last picture of a second's, and how many came in it; None where there are no more."""
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
            yield f"  {control.name}  a button"
        else:
            yield f"  {control.name}={control.value}  {control.low} to {control.high}, default {control.default}"
