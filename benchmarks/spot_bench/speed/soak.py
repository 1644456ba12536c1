"""Classify thousands of images in one process and check that memory, open files and times do not grow."""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spot_bench.speed.conditions import BUSY, Watch, describe_machine
from spot_bench.stats.percentiles import percentile
from spot_edge.camera.camera import Camera
from spot_edge.classifier import Classifier
from spot_edge.errors import DataError, InputError
from spot_edge.image.inputs import find_images
from spot_edge.image.source import Source
from spot_edge.machine import Sensors, text_in

__all__ = ["GROWTH", "SCHEMA", "SLOWEST", "WARMUP", "broken_limits", "camera_frames", "repeated_images", "soak"]

SCHEMA = 1
WARMUP = 500  # images; after them nothing may grow
GROWTH = 2_000_000  # bytes of resident memory
SLOWEST = 3.0  # p99 over p50

_EVERY = 20  # images between two readings


@dataclass(frozen=True, slots=True)
class _Reading:
    """The state of the process; None for what the system does not report."""

    resident: int | None  # bytes
    anonymous: int | None  # bytes of it that no file backs
    descriptors: int | None


def soak(
    classifier: Classifier,
    sources: Iterator[Source],
    count: int,
    on_done: Callable[[int], None] = lambda images: None,
    *,
    warmup: int = WARMUP,
) -> dict[str, Any]:
    """Classify `count` images of `sources`, one after another, and report on all after the first `warmup`.

    A time spans from the source (a path, or a frame in memory) to the prediction as JSON. Both wall-clock time and
    processor time of all threads are measured; the limit applies to processor time if other work disturbs the
    wall-clock times. Images that cannot be classified are counted.
    """
    wall, processor = np.full(count, np.nan), np.full(count, np.nan)  # filled now, so that memory does not grow later
    readings: list[_Reading] = []
    refused, watch = 0, Watch(Sensors())
    for number, source in enumerate(itertools.islice(sources, count)):
        if number == warmup:
            watch.start()
        if number >= warmup and (number - warmup) % _EVERY == 0:
            readings.append(_reading())
        begun, spent = time.perf_counter_ns(), time.process_time_ns()
        try:
            json.dumps(classifier.classify(source).as_dict())
        except InputError:
            refused += 1
        processor[number], wall[number] = time.process_time_ns() - spent, time.perf_counter_ns() - begun
        on_done(1)
    readings.append(_reading())
    other_work = watch.finish()["other_work"]
    return {
        "schema": SCHEMA,
        "machine": describe_machine(),
        "model": {"name": classifier.model.spec.name, "id": classifier.model.id},
        "runtime": {"name": classifier.runtime.name, "version": classifier.runtime.version},
        "images": count,
        "warmup": warmup,
        "refused": refused,
        "resident": _course([each.resident for each in readings], GROWTH),
        "anonymous": _course([each.anonymous for each in readings], None),
        "descriptors": _course([each.descriptors for each in readings], 0),
        "wall": _times(wall[warmup:]),
        "processor": _times(processor[warmup:]),
        "other_work": other_work,
        "clock": "processor" if (other_work or 0.0) > BUSY else "wall",
    }


def repeated_images(paths: Sequence[str]) -> Iterator[Source]:
    """Repeat the images at `paths` forever, reading each anew. Raise InputError for a path without images."""
    found = find_images(paths)
    for image in found:
        if image.problem:
            raise image.problem
    return (Source.of(image.path) for image in itertools.cycle(found))


def camera_frames(camera: Camera) -> Iterator[Source]:
    """Yield the camera's frames forever; a folder starts over at its end."""
    while True:
        for jpeg in camera:
            yield Source.frame(jpeg, camera.opened, time.time())
        camera.close()


def broken_limits(report: dict[str, Any]) -> list[str]:
    """Describe the limits that a report exceeds. Raise DataError if this system reports no memory or descriptors."""
    if report["resident"] is None or report["descriptors"] is None:
        raise DataError("this system does not report the memory or descriptors of a process: nothing was checked")
    growth, opened, clock = report["resident"]["growth"], report["descriptors"]["growth"], report["clock"]
    broken = []
    if growth >= GROWTH:
        broken.append(f"resident memory grew by {growth / 1e6:.1f} MB")
    if opened > 0:
        broken.append(f"{opened} more descriptors are open")
    ratio = report[clock]["ratio"]
    if ratio is not None and ratio > SLOWEST:
        broken.append(f"p99 is {ratio:.1f} times p50 in {clock} time")
    return broken


def _reading() -> _Reading:
    """Read exact figures from smaps_rollup; the fallback VmRSS may be some pages off."""
    found = text_in(Path("/proc/self/smaps_rollup")) or text_in(Path("/proc/self/status")) or ""
    sizes = {key: 1024 * int(size) for key, size in re.findall(r"^(\w+):\s*(\d+) kB", found, re.MULTILINE)}
    try:
        descriptors = len(os.listdir("/proc/self/fd"))
    except OSError:
        descriptors = None
    return _Reading(sizes.get("Rss", sizes.get("VmRSS")), sizes.get("Anonymous", sizes.get("RssAnon")), descriptors)


def _course(values: Sequence[int | None], limit: int | None) -> dict[str, Any] | None:
    """Summarize a figure: first, max, last, and growth (max - first)."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    growth = max(known) - known[0]
    return {"first": known[0], "max": max(known), "last": known[-1], "growth": growth, "limit": limit, "n": len(known)}


def _times(nanoseconds: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Estimate p50 and p99 in milliseconds, and their ratio."""
    middle, slow = percentile(nanoseconds / 1e6, 0.5), percentile(nanoseconds / 1e6, 0.99)
    ratio = slow.value / middle.value if slow.value and middle.value else None
    return {"p50": middle.as_dict(), "p99": slow.as_dict(), "ratio": ratio}
