"""Thousands of classifications in one process: whether memory, open files and times stay what they were."""

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

__all__ = ["GROWTH", "SCHEMA", "SETTLED", "SLOWEST", "broken_limits", "frames_of", "pictures_of", "soak"]

SCHEMA = 1
SETTLED = 500  # pictures after which nothing may grow any more
GROWTH = 2_000_000  # bytes of resident memory
SLOWEST = 3.0  # p99 over p50

_EVERY = 20  # pictures between two looks at the process


@dataclass(frozen=True, slots=True)
class _Look:
    """The process at one moment; None for what the system does not tell."""

    resident: int | None  # bytes
    anonymous: int | None  # of them those that are in no file
    descriptors: int | None


def soak(
    classifier: Classifier,
    sources: Iterator[Source],
    count: int,
    on_done: Callable[[int], None] = lambda pictures: None,
    *,
    settled: int = SETTLED,
) -> dict[str, Any]:
    """Judge `count` pictures of `sources`, one after another; a JSON-able report on all after the first `settled`.

    The times are those from the source (a path, or a frame in memory) to the answer in JSON: for the wall, and for the
    processor, all threads together, which is the one that is judged where other work disturbs the wall's. Pictures
    that cannot be judged are counted.
    """
    wall, processor = np.full(count, np.nan), np.full(count, np.nan)  # filled, so that no later page is theirs
    looks: list[_Look] = []
    refused, watch = 0, Watch(Sensors())
    for number, source in enumerate(itertools.islice(sources, count)):
        if number == settled:
            watch.start()
        if number >= settled and (number - settled) % _EVERY == 0:
            looks.append(_look())
        begun, spent = time.perf_counter_ns(), time.process_time_ns()
        try:
            json.dumps(classifier.classify(source).as_dict())
        except InputError:
            refused += 1
        processor[number], wall[number] = time.process_time_ns() - spent, time.perf_counter_ns() - begun
        on_done(1)
    looks.append(_look())
    others = watch.finish()["others"]
    return {
        "schema": SCHEMA,
        "machine": describe_machine(),
        "model": {"name": classifier.model.spec.name, "id": classifier.model.id},
        "runtime": {"name": classifier.runtime.name, "version": classifier.runtime.version},
        "pictures": count,
        "settled": settled,
        "refused": refused,
        "resident": _course([look.resident for look in looks], GROWTH),
        "anonymous": _course([look.anonymous for look in looks], None),
        "descriptors": _course([look.descriptors for look in looks], 0),
        "wall": _times(wall[settled:]),
        "processor": _times(processor[settled:]),
        "others": others,
        "judged": "processor" if (others or 0.0) > BUSY else "wall",
    }


def pictures_of(paths: Sequence[str]) -> Iterator[Source]:
    """The pictures that `paths` name, round and round, each to be read anew. InputError where one names none."""
    found = find_images(paths)
    for picture in found:
        if picture.problem:
            raise picture.problem
    return (Source.of(picture.path) for picture in itertools.cycle(found))


def frames_of(camera: Camera) -> Iterator[Source]:
    """The camera's frames without end: a folder that is through begins anew."""
    while True:
        for jpeg in camera:
            yield Source.frame(jpeg, camera.opened, time.time())
        camera.close()


def broken_limits(report: dict[str, Any]) -> list[str]:
    """Which limits a report breaks, in words. DataError where this system does not tell what they are about."""
    if report["resident"] is None or report["descriptors"] is None:
        raise DataError("this system does not tell a process's memory or descriptors: nothing was checked")
    grown, opened, clock = report["resident"]["grown"], report["descriptors"]["grown"], report["judged"]
    broken = []
    if grown >= GROWTH:
        broken.append(f"resident memory grew by {grown / 1e6:.1f} MB")
    if opened > 0:
        broken.append(f"{opened} more descriptors are open")
    ratio = report[clock]["ratio"]
    if ratio is not None and ratio > SLOWEST:
        broken.append(f"p99 is {ratio:.1f} times p50 by the {clock}'s time")
    return broken


def _look() -> _Look:
    """Exact figures where the kernel has smaps_rollup; VmRSS, its fallback, may be some pages off."""
    found = text_in(Path("/proc/self/smaps_rollup")) or text_in(Path("/proc/self/status")) or ""
    sizes = {key: 1024 * int(size) for key, size in re.findall(r"^(\w+):\s*(\d+) kB", found, re.MULTILINE)}
    try:
        descriptors = len(os.listdir("/proc/self/fd"))
    except OSError:
        descriptors = None
    return _Look(sizes.get("Rss", sizes.get("VmRSS")), sizes.get("Anonymous", sizes.get("RssAnon")), descriptors)


def _course(values: Sequence[int | None], limit: int | None) -> dict[str, Any] | None:
    """What a figure was first, at most and last, and by how much the most is above the first."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    grown = max(known) - known[0]
    return {"first": known[0], "most": max(known), "last": known[-1], "grown": grown, "limit": limit, "n": len(known)}


def _times(nanoseconds: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Milliseconds of the median and the slowest hundredth with their intervals, and the ratio of the two."""
    middle, slow = percentile(nanoseconds / 1e6, 0.5), percentile(nanoseconds / 1e6, 0.99)
    ratio = slow.value / middle.value if slow.value and middle.value else None
    return {"p50": middle.as_dict(), "p99": slow.as_dict(), "ratio": ratio}
