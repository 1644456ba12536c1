"""The command `spot-edge`: a group that imports each subcommand only when it runs.

The device package brings `classify`, `camera`, `kiosk`, `info` and `doctor`. Other packages add commands through entry
points of the group `spot_edge.commands`. A SpotError is printed as one line on stderr; its exit code is in `errors`.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

_COLLECTS = gc.isenabled()
gc.disable()  # importing click creates only objects that stay; searching them takes a tenth of it

import click  # noqa: E402

if _COLLECTS:
    gc.enable()

from spot_edge import __version__  # noqa: E402
from spot_edge.errors import (  # noqa: E402
    OutputError,
    SpotError,
    install_hint,
    is_interrupt,
    is_within,
    one_line,
)

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["ENTRY_POINTS", "TOOLKIT", "main", "spot_edge"]

ENTRY_POINTS = "spot_edge.commands"

# Name → module and attribute, and the line that --help shows without importing the command.
_DEVICE = {
    "classify": (
        "spot_edge.commands.classify:classify",
        "Say what a lesion looks most like and how urgent it is.",
    ),
    "camera": ("spot_edge.commands.camera:camera", "List cameras, take a picture, adjust focus and light."),
    "kiosk": ("spot_edge.commands.kiosk:kiosk", "Classify what a camera sees at the press of a button."),
    "info": ("spot_edge.commands.info:info", "Show what a model file contains and how it was measured."),
    "doctor": ("spot_edge.commands.doctor:doctor", "Check this machine, its cameras and the installation."),
}
# The commands of the workstation toolkit in the order of use, and their lines in --help.
TOOLKIT = {
    "data": "Check, split and download data sets.",
    "train": "Train a network from a recipe.",
    "runs": "Pack, restore, average and shift run directories.",
    "convert": "Convert a run into verified, quantized model files.",
    "bench": "Measure accuracy, drift, robustness and speed of model files.",
    "inspect": "Show what is inside any .tflite file.",
    "kit": "Export a conformance kit for apps, and check an app against it.",
}

_INTERRUPTED = 130
_RETRY_AFTER = 0.01  # seconds


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        installed = _installed()
        return [*_DEVICE, *_in_order(installed)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _DEVICE:
            module, _, attribute = _DEVICE[cmd_name][0].partition(":")
            own: click.Command = getattr(import_module(module), attribute)
            return own
        entry = _installed().get(cmd_name)
        return entry.load() if entry else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name in TOOLKIT and name not in _installed():
            raise click.UsageError(f"'{name}' is part of the workstation toolkit. Install it {install_hint()}", ctx)
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _success_on_closed_pipe():  # of --help
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _success_on_closed_pipe():
                return super().invoke(ctx)
        except Exception as error:
            if is_interrupt(error):
                raise KeyboardInterrupt from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        installed = _installed()
        toolkit = [(name, TOOLKIT.get(name) or _short_help(installed[name])) for name in _in_order(installed)]
        with formatter.section("Device commands"):
            formatter.write_dl([(name, about) for name, (_, about) in _DEVICE.items()])
        if toolkit:
            with formatter.section("Toolkit commands"):
                formatter.write_dl(toolkit)


def _installed() -> dict[str, Any]:
    """Commands of other packages. Loaded only when needed, so that --help stays light."""
    from importlib.metadata import entry_points  # slow to import, and rarely needed

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def _in_order(installed: dict[str, Any]) -> list[str]:
    return [*(name for name in TOOLKIT if name in installed), *sorted(installed.keys() - TOOLKIT.keys())]


def _short_help(entry: Any) -> str:
    try:
        command: click.Command = entry.load()
    except Exception as error:  # a broken plug-in must not break --help
        return f"(cannot be loaded: {error})"
    return command.get_short_help_str(limit=66)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="spot-edge")
def spot_edge() -> None:
    """Classify dermatoscope images offline. An aid, not a diagnosis."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and end the process with a documented exit code."""
    _ignore_stderr_errors()
    _reopen_closed_streams()
    own = (sys.argv[1:] if args is None else args)[:1] in ([name] for name in _DEVICE)
    if own:
        gc.disable()  # imports create only objects that stay; commands turn it on again once their model is loaded
    try:
        _install_signal_handlers()
        code = _run(args)
    except KeyboardInterrupt:  # a second one, or one between two of our own lines
        code = _interrupted()
    if code != _INTERRUPTED:
        _remove_signal_handlers(ignore=False)
    if own:
        # Shutting Python down takes as long as classifying an image. Our own commands leave nothing open.
        with suppress(OSError):  # the terminal was closed
            sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run(args: list[str] | None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold characters the terminal cannot show
    try:
        code = spot_edge.main(args=args, prog_name="spot-edge", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.Abort:
        return _interrupted()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SpotError as error:
        click.echo(f"spot-edge: {one_line(str(error))}", err=True)
        if isinstance(error, OutputError):
            _close_stdout()
        return error.exit_code
    except BrokenPipeError:
        _close_stdout()
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EBADF):
            raise
        click.echo(f"spot-edge: cannot write to standard output: {error.strerror}", err=True)
        _close_stdout()
        return OutputError.exit_code
    return code if isinstance(code, int) else 0


def _interrupted() -> int:
    with suppress(KeyboardInterrupt):
        _remove_signal_handlers(ignore=True)
    click.echo("interrupted", err=True)
    _close_stdout()  # output that waits for a slow reader must not delay the exit
    return _INTERRUPTED


def _reopen_closed_streams() -> None:
    """Point streams that the caller closed to the null device, or the next opened file would get their number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = open(os.devnull, "w" if number else "r")  # noqa: SIM115 - open until the process ends
            if opened.fileno() != number:
                os.dup2(opened.fileno(), number)
            setattr(sys, name, opened)


@contextmanager
def _success_on_closed_pipe() -> Iterator[None]:
    """Exit with 0 when the reader of a pipe closes it, as in `spot-edge … | head`. Click would exit with 1."""
    try:
        yield
    except BrokenPipeError:
        _close_stdout()
        raise click.exceptions.Exit(0) from None


class _LossyFile(io.FileIO):
    """A file that drops what it cannot write instead of raising an error."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _ignore_stderr_errors() -> None:
    """Keep going when stderr cannot be written, because its disk is full or its reader has closed it."""
    if os.name == "posix" and isinstance(sys.stderr, io.TextIOWrapper):  # on Windows a console is not a file
        # Unbuffered: a buffer could repeat text after an interrupt.
        raw = _LossyFile(sys.stderr.fileno(), "w", closefd=False)
        sys.stderr = io.TextIOWrapper(raw, sys.stderr.encoding, sys.stderr.errors, write_through=True)


def _install_signal_handlers() -> None:
    """Make SIGTERM and SIGHUP end a command cleanly, as Ctrl-C does.

    Signals that the caller ignores (`nohup`) stay ignored. Python loses an interrupt that comes during a finalizer,
    so the handler raises it again a moment later.
    """
    import signal  # Pillow's JPEG decoder imports it anyway

    def interrupt(number: int, frame: FrameType | None) -> None:
        within = is_within(frame, report_lost.__code__)
        retry(_RETRY_AFTER if within else 0.0)
        if not within:
            raise KeyboardInterrupt

    def retry(seconds: float) -> None:
        if hasattr(signal, "setitimer"):  # not available everywhere
            signal.signal(signal.SIGALRM, interrupt)
            signal.setitimer(signal.ITIMER_REAL, seconds)  # 0 turns the timer off

    def report_lost(what: sys.UnraisableHookArgs) -> None:
        if isinstance(what.exc_value, KeyboardInterrupt):
            retry(_RETRY_AFTER)
        else:
            sys.__unraisablehook__(what)

    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, interrupt)
    sys.unraisablehook = report_lost


def _remove_signal_handlers(*, ignore: bool) -> None:
    """From here on the exit code is known, so a further signal must not cause a traceback.

    It is ignored, or ends the process at once: shutting Python down may take long.
    """
    import signal

    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_IGN if ignore else signal.SIG_DFL)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _close_stdout() -> None:
    """Drop what could not be written, or Python would retry at exit and print an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
