"""What commands share: loading a model, and the options of commands that use a camera."""

from __future__ import annotations

import functools
import gc
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from spot_edge.camera.camera import SIZE, TIMEOUT, Camera
from spot_edge.classifier import Classifier
from spot_edge.image.inputs import Found
from spot_edge.image.source import Source
from spot_edge.model.interpreter import default_threads

__all__ = ["camera_options", "load", "load_several", "take", "take_burst"]

_IMAGES_EACH = 4  # an interpreter that classifies fewer is not worth loading


def load(model: str | None, *, runtime: str | None = None, threads: int | None = None) -> Classifier:
    """Load a classifier, without log output of the interpreter, and turn garbage collection on."""
    return load_several(model, 1, runtime=runtime, threads=threads)[0]


def load_several(
    model: str | None, images: int, *, runtime: str | None = None, threads: int | None = None
) -> list[Classifier]:
    """Load classifiers of one model that share `threads` processors (default: all, at most four) for so many images.

    Many images get interpreters with one thread each: two images at a time are faster than two threads for each in
    turn.
    """
    threads = threads or default_threads()
    count = max(1, min(threads, images // _IMAGES_EACH))
    with _without_native_log():
        first = Classifier.load(model, runtime=runtime, threads=threads // count)
        others = [
            Classifier(first.model, runtime=first.runtime.name, threads=threads // count) for _ in range(1, count)
        ]
    gc.enable()
    return [first, *others]


@contextmanager
def _without_native_log() -> Iterator[None]:
    """Hide what the interpreter's C++ code logs while it loads ("INFO: Created …")."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


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
