"""What commands that use a camera share: their options, and taking pictures."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import click

from spot_edge.camera.camera import SIZE, TIMEOUT, Camera
from spot_edge.image.inputs import Found
from spot_edge.image.source import Source

__all__ = ["camera_options", "take", "take_burst"]


def camera_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the camera options to `command`, which receives them as one Camera, `source`."""

    @click.argument("device", default="auto")
    @click.option(
        "--size",
        default="{}x{}".format(*SIZE),
        show_default=True,
        callback=_size,
        metavar="WxH",
        help="Image size.",
    )
    @click.option("--set", "controls", multiple=True, callback=_settings, metavar="NAME=N", help="Set a control.")
    @click.option("--lock/--unlock", default=None, help="Lock or unlock focus, exposure and white balance.")
    @click.option(
        "--timeout",
        type=click.FloatRange(0.1, 60),
        default=TIMEOUT,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for an image.",
    )
    @functools.wraps(command)
    def with_camera(
        device: str,
        size: tuple[int, int],
        controls: dict[str, int | None],
        lock: bool | None,
        timeout: float,
        **others: Any,
    ) -> None:
        command(Camera(device, size=size, controls=controls, lock=lock, timeout=timeout), **others)

    return with_camera


def take(source: Camera) -> Found:
    """Take a picture with `source`; its results are named after the time. Raises StopIteration if there are no more."""
    jpeg, now = next(source), time.time()
    frame = Source.frame(jpeg, source.opened, now)
    return Found(frame.name, time.strftime("camera-%Y%m%d-%H%M%S", time.localtime(now)), frame=frame)


def take_burst(source: Camera, frames: int) -> Iterator[Found]:
    """Take up to `frames` pictures, each on demand. Stops early if there are no more."""
    with suppress(StopIteration):
        for _ in range(frames):
            yield take(source)


def _size(ctx: click.Context, parameter: click.Parameter, value: str) -> tuple[int, int]:
    sides = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", value)
    if sides is None:
        raise click.BadParameter("write it like 1280x960")
    return int(sides[1]), int(sides[2])


def _settings(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for value in values:
        name, equals, number = value.partition("=")
        if equals and not re.fullmatch(r"-?\d{1,9}", number):
            raise click.BadParameter(f"{value!r}: write NAME=NUMBER, or NAME for a button")
        found[name] = int(number) if equals else None
    return found
