"""Bursts for `classify`: which images show one lesion, and one prediction for them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from spot_edge.errors import CameraError, InputError, InterpreterError, one_line
from spot_edge.image.inputs import Found, absolute
from spot_edge.prediction.burst import predict_burst

if TYPE_CHECKING:
    from spot_edge.classifier import Classifier
    from spot_edge.commands.records import Result, ResultFiles, Writer
    from spot_edge.image.source import Source
    from spot_edge.image.tensor import Prepared
    from spot_edge.prediction.burst import BurstResult

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
) -> tuple[int, bool]:
    """Classify images of one lesion together, and write the result.

    Returns the exit code, 0 if all were classified, and whether the model file misbehaves.
    """
    code = 0
    used: list[Found] = []
    failures: list[tuple[Found, str]] = []

    def prepared() -> Iterator[Prepared]:
        for frame in frames:
            try:
                if frame.problem:
                    raise frame.problem
                image = classifier.prepare(open_frame(frame))
            except Exception as error:  # whatever happens to one image, the others are classified
                fail(frame, error)
            else:
                used.append(frame)
                yield image

    def fail(frame: Found, error: Exception) -> None:
        nonlocal code
        from spot_edge.commands.failures import failure_of

        failure = failure_of(error, frame.path)
        if isinstance(failure, CameraError):
            raise failure
        failures.append((frame, str(failure)))
        code = max(code, failure.exit_code)

    misbehaves = False
    result: BurstResult | None = None
    results: Sequence[Result] = ()
    try:
        result = predict_burst(classifier, prepared())
    except Exception as error:
        if not used:  # of a camera, before its first picture
            raise
        fail(used[-1], error)
    if result is not None:
        try:
            results = files.results(result.kept, result.prediction)
        except Exception as error:
            fail(used[result.number - 1], error)
            result = None
    for _, reason in failures:
        click.echo(f"spot-edge: {one_line(reason)}", err=True)
    if result is not None:
        files.write(used[result.number - 1].relative, results)
        writer.prediction(result.prediction)
        misbehaves = result.prediction.misbehaves
        code = max(code, InterpreterError.exit_code * misbehaves)
    for frame, reason in failures:
        writer.failure(frame, reason)
    return code, misbehaves


def _too_many(folder: str, count: int, most: int) -> Found:
    problem = f"{folder}: {count} images, but a burst has at most {most}: put each lesion into its own folder"
    return Found(folder, folder, InputError(problem))
