"""`spot-edge bench latency` and `bench compare`. Numpy and interpreter come with the one that runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from spot_bench.commandline import JSON, PATH, new_report, show, write
from spot_edge.errors import CheckError

__all__ = ["compare", "latency"]

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
    from spot_bench.history import append_report, check_history
    from spot_bench.latency import Plan, measure
    from spot_bench.latency_table import latency_lines

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
    from spot_bench.compare import compare_reports, slower
    from spot_bench.history import read_report
    from spot_bench.latency_table import comparison_lines

    comparison = compare_reports(read_report(a), read_report(b))
    show(comparison, comparison_lines(comparison), as_json)
    found = slower(comparison)
    if fail_on and found:
        raise CheckError(f"slower than in {a}: {', '.join(dict.fromkeys(found))}")


def _picture(image: Path | None) -> bytes:
    if image is None:
        from spot_bench.drawings import draw_lesion, encode_jpeg

        return encode_jpeg(draw_lesion(seed=1))
    from spot_edge.source import Source

    return Source.of(image).read()
