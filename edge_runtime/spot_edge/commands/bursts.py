"""Bursts for `classify`: which images show one lesion, and one prediction for them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from spot_edge.errors import InputError, one_line
from spot_edge.image.inputs import Found, absolute
from spot_edge.prediction.burst import predict_burst

if TYPE_CHECKING:
    from spot_edge.classifier import Classifier
    from spot_edge.commands.records import ResultFiles, Writer
    from spot_edge.image.source import Source
    from spot_edge.image.tensor import Prepared

__all__ = ["by_folder", "captured_burst", "classify_burst"]


def by_folder(found: Sequence[Found], most: int) -> list[Iterable[Found]]:
    """Group `found` into bursts: the images of one folder show one lesion.

    A folder with more than `most` images becomes a problem. Standard input, and entries that have a problem already,
    stand alone.
    """
    folders: dict[str, list[Found]] = {}
    for place, image in enumerate(found):
        alone = image.problem or image.path == "-"
        folder = os.path.dirname(absolute(image.path))
        folders.setdefault(f"\0{place}" if alone else folder, []).append(image)
    return [
        frames if len(frames) <= most else [_too_many(os.path.dirname(frames[0].path) or ".", len(frames), most)]
        for frames in folders.values()
    ]


def captured_burst(camera: str, frames: int) -> Iterator[Found]:
    """Take `frames` pictures with `camera`, each on demand."""
    from spot_edge.camera.camera import Camera
    from spot_edge.commands.options import take_burst

    with Camera(camera) as source:
        yield from take_burst(source, frames)


def classify_burst(
    open_frame: Callable[[Found], Source],
    classifier: Classifier,
    frames: Iterable[Found],
    writer: Writer,
    files: ResultFiles,
) -> bool:
    """Classify images of one lesion together, and write the result. Returns whether all of them could be classified."""
    used: list[str] = []
    failures: list[tuple[Found, str]] = []

    def prepared() -> Iterator[Prepared]:
        for frame in frames:
            try:
                if frame.problem:
                    raise frame.problem
                image = classifier.prepare(open_frame(frame))
            except InputError as error:
                failures.append((frame, str(error)))
            else:
                used.append(frame.relative)
                yield image

    result = predict_burst(classifier, prepared())
    for _, reason in failures:
        click.echo(f"spot-edge: {one_line(reason)}", err=True)
    if result is not None:
        files.save(used[result.number - 1], result.kept, result.prediction)
        writer.prediction(result.prediction)
    for frame, reason in failures:
        writer.failure(frame, reason)
    return not failures


def _too_many(folder: str, count: int, most: int) -> Found:
    problem = f"{folder}: {count} images, but a burst has at most {most}: put each lesion into its own folder"
    return Found(folder, folder, InputError(problem))
