"""The speed commands of `spot-edge bench`. Each imports numpy and the interpreter only when it runs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spot_bench.commands.options import JSON, PATH, new_report, show, write
from spot_bench.run.progress import progress_bar
from spot_edge.errors import CheckError

if TYPE_CHECKING:
    from spot_edge.image.source import Source

__all__ = ["compare", "folder", "latency", "overhead", "soak"]

_MOST_THREADS = 64


def _several(read: Callable[[str], Any], example: str) -> Callable[..., tuple[Any, ...]]:
    """Parse an option with a comma-separated list; `read` parses each entry. Empty if the option is not given."""

    def parsed(_: click.Context, __: click.Parameter, value: str | None) -> tuple[Any, ...]:
        if value is None:
            return ()
        try:
            found = [read(part.strip()) for part in value.split(",")]
        except (ValueError, KeyError):
            raise click.BadParameter(f"{value!r} is not a list such as {example}") from None
        if len(set(found)) < len(found):
            raise click.BadParameter(f"{value!r} names one twice")
        return tuple(found)

    return parsed


def _thread_count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= _MOST_THREADS:
        raise ValueError(text)
    return count


@click.command(short_help="Time models on one image.")
@click.argument("models", metavar="[MODEL...]", nargs=-1, type=PATH)
@click.option("--image", type=PATH, help="Image to time on [default: a drawn one of 600x450 pixels].")
@click.option(
    "--seconds", type=click.FloatRange(0), default=20.0, show_default=True, help="Minimum measuring time in seconds."
)
@click.option("--samples", type=click.IntRange(1), default=1024, show_default=True, help="Minimum number of samples.")
@click.option(
    "--threads",
    callback=_several(_thread_count, "1,2,4"),
    metavar="N,...",
    help="Numbers of threads to compare, such as 1,2,4 [default: one per processor, at most 4].",
)
@click.option(
    "--delegate",
    "delegates",
    callback=_several({"on": True, "off": False}.__getitem__, "on,off"),
    default="on",
    show_default=True,
    metavar="on,off",
    help="Run with XNNPACK, without it, or both.",
)
@click.option(
    "--cold",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Cold starts per model; 0 skips cold starts and memory.",
)
@click.option("--runtime", help="Interpreter package [default: the first one installed].")
@click.option("--out", type=PATH, help="Folder for the report file.")
@click.option("--history", type=PATH, help="File to append the report to, as one line.")
@JSON
def latency(
    models: tuple[Path, ...],
    image: Path | None,
    out: Path | None,
    history: Path | None,
    as_json: bool,
    **plan: Any,
) -> None:
    """Time each MODEL (default: the embedded one) on one image; all configurations take turns."""
    from spot_bench.speed.history import append_report, check_history
    from spot_bench.speed.latency import Plan, measure
    from spot_bench.speed.lines import latency_lines

    file = new_report(out)
    if history is not None:
        check_history(history)
    wanted = Plan(**plan)
    files = [str(model) for model in models] if models else [None]
    with progress_bar("rounds", wanted.samples) as step:
        report = measure(files, _content(image), wanted, lambda done: step(1))
    if history is not None:
        append_report(report, history)
    write(report, file)
    show(report, latency_lines(report), as_json)


@click.command(short_help="Compare two latency reports.")
@click.argument("a")
@click.argument("b")
@click.option("--fail-on", type=click.Choice(["slower"]), help="Exit with 8 if B's network or total time is slower.")
@JSON
def compare(a: str, b: str, fail_on: str | None, as_json: bool) -> None:
    """Compare latency report B with A, and separate changes from noise. A report is a file, or FILE#N of a history."""
    from spot_bench.speed.compare import compare_reports, slower
    from spot_bench.speed.history import read_report
    from spot_bench.speed.lines import comparison_lines

    comparison = compare_reports(read_report(a), read_report(b))
    show(comparison, comparison_lines(comparison), as_json)
    found = slower(comparison)
    if fail_on and found:
        raise CheckError(f"slower than in {a}: {', '.join(dict.fromkeys(found))}")


def _content(image: Path | None) -> bytes:
    if image is None:
        from spot_bench.data.drawn import draw_lesion, encode_jpeg

        return encode_jpeg(draw_lesion(seed=1))
    from spot_edge.image.source import Source

    return Source.of(image).read()


_DRAWN = 24  # images
_FEWEST = 800  # 500 of warm-up, and enough for a p99


@click.command(short_help="Measure the cost of our own code.")
@click.option("--model", type=PATH, help="Model file [default: the embedded model].")
@JSON
def overhead(model: Path | None, as_json: bool) -> None:
    """Measure what our code costs on top of Pillow and the interpreter: per call, per large photo, per process."""
    from spot_bench.speed.lines import overhead_lines
    from spot_bench.speed.overhead import measure_overhead

    report = measure_overhead(model)
    show(report, overhead_lines(report), as_json)


@click.command(short_help="Time `classify FOLDER` on all processors against one.")
@click.argument("images", metavar="FOLDER", type=PATH)
@click.option("--model", type=PATH, help="Model file [default: the embedded model].")
@click.option("--repeats", type=click.IntRange(2), default=10, show_default=True, help="Runs of each, alternating.")
@JSON
def folder(images: Path, model: Path | None, repeats: int, as_json: bool) -> None:
    """Time `classify FOLDER` on all processors, and one image at a time on one thread."""
    from spot_bench.speed.folder import measure_folder
    from spot_bench.speed.lines import folder_lines

    with progress_bar("repeats", repeats) as step:
        report = measure_folder(images, model, repeats=repeats, done=lambda: step(1))
    show(report, folder_lines(report), as_json)


@click.command(short_help="Check memory and times over thousands of images.")
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option(
    "--camera",
    is_flag=False,
    flag_value="auto",
    metavar="[DEVICE|auto]",
    help="Use camera frames instead of files.",
)
@click.option(
    "--images", type=click.IntRange(_FEWEST), default=10_000, show_default=True, help="Total number of images."
)
@click.option("--model", type=PATH, help="Model file [default: the embedded model].")
@JSON
def soak(paths: tuple[str, ...], camera: str | None, images: int, model: Path | None, as_json: bool) -> None:
    """Classify thousands of images in one process. Exit with 8 if memory, open files or times grow.

    PATH is a file or folder as for `classify`, used in rotation [default: drawn images]. DEVICE is a camera as for
    `camera`, or a folder. After the first 500 images, resident memory must grow by less than 2 MB, no file descriptor
    may stay open, and p99 must be at most 3 times p50. Times are wall-clock times, or processor times if other programs
    took more than 10 % of the processors.
    """
    if paths and camera is not None:
        raise click.UsageError("name a PATH or --camera, not both")
    from spot_bench.speed.lines import soak_lines
    from spot_bench.speed.soak import broken_limits
    from spot_bench.speed.soak import soak as measure
    from spot_edge.classifier import Classifier

    classifier = Classifier.load(model)
    with ExitStack() as stack:
        sources = _sources(paths, camera, stack)
        step = stack.enter_context(progress_bar("soak", images))
        report = measure(classifier, sources, images, step)
    report["source"] = {"camera": camera} if camera is not None else {"paths": list(paths) or ["drawn"]}
    show(report, soak_lines(report), as_json)
    broken = broken_limits(report)
    if broken:
        raise CheckError(f"soak: {', '.join(broken)}")


def _sources(paths: tuple[str, ...], camera: str | None, stack: ExitStack) -> Iterator[Source]:
    from spot_bench.speed.soak import camera_frames, repeated_images

    if camera is not None:
        from spot_edge.camera.camera import Camera

        return camera_frames(stack.enter_context(Camera(camera)))
    if paths:
        return repeated_images(paths)
    from spot_bench.data.drawn import KINDS, draw_lesion, encode_jpeg

    folder = stack.enter_context(tempfile.TemporaryDirectory())
    for number in range(_DRAWN):
        drawn = draw_lesion(number, kind=KINDS[number % len(KINDS)])
        Path(folder, f"{number}.jpg").write_bytes(encode_jpeg(drawn))
    return repeated_images([folder])
