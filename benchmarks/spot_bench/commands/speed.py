"""`spot-edge bench latency` and `bench compare`. Numpy and interpreter come with the one that runs.

`spot-edge bench soak`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spot_bench.commands.options import JSON, PATH, new_report, show, write
from spot_edge.errors import CheckError

if TYPE_CHECKING:
    from spot_edge.image.source import Source

__all__ = ["compare", "latency", "soak"]

_MOST_THREADS = 64


def _several(read: Callable[[str], Any], example: str) -> Callable[..., tuple[Any, ...]]:
    """Reads an option's comma list, each of whose parts `read` knows; none where the option was not given."""

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


@click.command()
@click.argument("models", metavar="[MODEL...]", nargs=-1, type=PATH)
@click.option("--image", type=PATH, help="Picture to time on [a drawn one of 600x450 pixels].")
@click.option("--seconds", type=click.FloatRange(0), default=20.0, show_default=True, help="Measure at least so long.")
@click.option("--samples", type=click.IntRange(1), default=1024, show_default=True, help="Measure at least so often.")
@click.option(
    "--threads",
    callback=_several(_thread_count, "1,2,4"),
    metavar="N,...",
    help="Threads, each a configuration, such as 1,2,4 [as many as processors, at most 4].",
)
@click.option(
    "--delegate",
    "delegates",
    callback=_several({"on": True, "off": False}.__getitem__, "on,off"),
    default="on",
    show_default=True,
    metavar="on,off",
    help="With XNNPACK, without it, or both.",
)
@click.option(
    "--cold", type=click.IntRange(0), default=10, show_default=True, help="New processes a model; 0: none, nor memory."
)
@click.option("--runtime", help="Interpreter package [the first that is installed].")
@click.option("--out", type=PATH, help="Folder for the report file.")
@click.option("--history", type=PATH, help="File that the report is added to, as one line.")
@JSON
def latency(
    models: tuple[Path, ...],
    image: Path | None,
    out: Path | None,
    history: Path | None,
    as_json: bool,
    **plan: Any,
) -> None:
    """How long each MODEL (default: the embedded one) takes for one picture, all configurations in turns."""
    from spot_bench.speed.history import append_report, check_history
    from spot_bench.speed.latency import Plan, measure
    from spot_bench.speed.lines import latency_lines

    file = new_report(out)
    if history is not None:
        check_history(history)
    wanted = Plan(**plan)
    files = [str(model) for model in models] if models else [None]
    with click.progressbar(length=wanted.samples, label="rounds", file=sys.stderr, show_pos=True) as bar:
        report = measure(files, _picture(image), wanted, lambda done: bar.update(1))
    if history is not None:
        append_report(report, history)
    write(report, file)
    show(report, latency_lines(report), as_json)


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--fail-on", type=click.Choice(["slower"]), help="End with exit code 8 where B's network or total is so.")
@JSON
def compare(a: str, b: str, fail_on: str | None, as_json: bool) -> None:
    """Whether latency report B differs from A, or only by noise. Each is a report file, or a history's FILE#N."""
    from spot_bench.speed.compare import compare_reports, slower
    from spot_bench.speed.history import read_report
    from spot_bench.speed.lines import comparison_lines

    comparison = compare_reports(read_report(a), read_report(b))
    show(comparison, comparison_lines(comparison), as_json)
    found = slower(comparison)
    if fail_on and found:
        raise CheckError(f"slower than in {a}: {', '.join(dict.fromkeys(found))}")


def _picture(image: Path | None) -> bytes:
    if image is None:
        from spot_bench.data.drawn import draw_lesion, encode_jpeg

        return encode_jpeg(draw_lesion(seed=1))
    from spot_edge.image.source import Source

    return Source.of(image).read()


_DRAWN = 24  # pictures
_FEWEST = 800  # 500 that are not counted, and enough for a p99


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option(
    "--camera", is_flag=False, flag_value="auto", metavar="[DEVICE|auto]", help="A camera's frames instead of files."
)
@click.option("--pictures", type=click.IntRange(_FEWEST), default=10_000, show_default=True, help="So many in all.")
@click.option("--model", type=PATH, help="Model file [the embedded model].")
@JSON
def soak(paths: tuple[str, ...], camera: str | None, pictures: int, model: Path | None, as_json: bool) -> None:
    """Judge thousands of pictures in one process; exit code 8 where memory, descriptors or times do not stay.

    PATH is a file or folder as for `classify`, gone round and round [drawn pictures]; DEVICE, as for `camera`, may be a
    folder too. After the first 500 pictures resident memory must not grow by 2 MB nor a descriptor stay open, and
    p99 must stay within 3 times p50: by the wall's clock, or where other work took more than 10 % of the processors'
    time, by the time that the processors spent on us.
    """
    if paths and camera is not None:
        raise click.UsageError("a PATH and --camera exclude one another")
    from spot_bench.drift.lines import soak_lines
    from spot_bench.speed.soak import broken_limits
    from spot_bench.speed.soak import soak as measure
    from spot_edge.classifier import Classifier

    classifier = Classifier.load(model)
    with ExitStack() as stack:
        sources = _sources(paths, camera, stack)
        bar = stack.enter_context(click.progressbar(length=pictures, label="soak", file=sys.stderr, show_pos=True))
        report = measure(classifier, sources, pictures, bar.update)
    report["source"] = {"camera": camera} if camera is not None else {"paths": list(paths) or ["drawn"]}
    show(report, soak_lines(report), as_json)
    broken = broken_limits(report)
    if broken:
        raise CheckError(f"soak: {', '.join(broken)}")


def _sources(paths: tuple[str, ...], camera: str | None, stack: ExitStack) -> Iterator[Source]:
    from spot_bench.speed.soak import frames_of, pictures_of

    if camera is not None:
        from spot_edge.camera.camera import Camera

        return frames_of(stack.enter_context(Camera(camera)))
    if paths:
        return pictures_of(paths)
    from spot_bench.data.drawn import KINDS, draw_lesion, encode_jpeg

    folder = stack.enter_context(tempfile.TemporaryDirectory())
    for number in range(_DRAWN):
        drawn = draw_lesion(number, kind=KINDS[number % len(KINDS)])
        Path(folder, f"{number}.jpg").write_bytes(encode_jpeg(drawn))
    return pictures_of([folder])
