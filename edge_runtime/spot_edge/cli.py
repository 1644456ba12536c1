"""The command `spot-edge`: a group whose subcommands are imported when they are run.

The device package brings `classify`, `camera`, `kiosk`, `info` and `doctor`; further ones are found by entry points of
the group `spot_edge.commands`. A SpotError becomes one line on stderr and an exit code from the table in `errors`.
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

import click

from spot_edge import __version__
from spot_edge.errors import EXIT_CODES, OutputError, SpotError, is_interrupt, is_within, one_line

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["ENTRY_POINTS", "TOOLKIT", "main", "spot_edge"]

ENTRY_POINTS = "spot_edge.commands"

# name → module and attribute, and the line that --help shows without importing it
_OWN = {
    "classify": ("spot_edge.commands.classify:classify", "Say what lesion pictures look most like, and how urgent."),
    "camera": ("spot_edge.commands.camera:camera", "List cameras, take a picture, watch focus and light."),
    "kiosk": ("spot_edge.commands.kiosk:kiosk", "Judge what a camera sees at the press of its button or a key."),
    "info": ("spot_edge.commands.info:info", "Show what a model file carries."),
    "doctor": ("spot_edge.commands.doctor:doctor", "Say what this machine is and what is wrong with it."),
}

_INTERRUPTED = 130
_AGAIN = 0.01  # seconds

_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_OWN, *sorted(_installed())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _OWN:
            module, _, attribute = _OWN[cmd_name][0].partition(":")
            own: click.Command = getattr(import_module(module), attribute)
            return own
        entry = _installed().get(cmd_name)
        return entry.load() if entry else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name in TOOLKIT and name not in _installed():
            raise click.UsageError(f"'{name}' is part of the workstation toolkit: pip install spot-edge-toolkit", ctx)
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _readers_that_go():  # of --help
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _readers_that_go():
                return super().invoke(ctx)
        except Exception as error:
            if is_interrupt(error):
                raise KeyboardInterrupt from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, about) for name, (_, about) in _OWN.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
        installed = _installed()
        if installed:
            with formatter.section("Commands of the toolkit"):
                formatter.write_dl([(name, _short_help(entry)) for name, entry in sorted(installed.items())])


TOOLKIT = ("train", "runs", "convert", "inspect", "kit", "bench", "data")


def _installed() -> dict[str, Any]:
    from importlib.metadata import entry_points  # slow to import, and rarely needed

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def _short_help(entry: Any) -> str:
    try:
        command: click.Command = entry.load()
    except Exception as error:  # a broken plug-in must not take --help away
        return f"(cannot be loaded: {error})"
    return command.get_short_help_str(limit=80)


@click.group(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="spot-edge")
def spot_edge() -> None:
    """Say what a dermatoscope image looks most like, and how urgent it is, offline.

    An aid for trained people, not a diagnosis.
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line and end the process with a documented exit code."""
    _let_complaints_go()
    _open_closed_streams()
    own = (sys.argv[1:] if args is None else args)[:1] in ([name] for name in _OWN)
    if own:
        gc.disable()  # importing makes only objects that stay; `classify` turns it on when its model is loaded
    try:
        _heed_signals()
        code = _run(args)
    except KeyboardInterrupt:  # a second one, or one that came between two lines of ours
        code = _interrupted()
    if code != _INTERRUPTED:
        _heed_no_more(ignore=False)
    if own:
        # Taking an interpreter apart takes as long as a classification; our own commands leave nothing to be closed.
        with suppress(OSError):  # a terminal that has gone
            sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run(args: list[str] | None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name that the terminal cannot show is no error
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
        click.echo(f"spot-edge: standard output cannot be written: {error.strerror}", err=True)
        _close_stdout()
        return OutputError.exit_code
    return code if isinstance(code, int) else 0


def _interrupted() -> int:
    with suppress(KeyboardInterrupt):
        _heed_no_more(ignore=True)
    click.echo("interrupted", err=True)
    _close_stdout()  # an answer that waits for a slow reader must not hold up the end
    return _INTERRUPTED


def _open_closed_streams() -> None:
    """A stream that the caller closed becomes one that leads nowhere, or the next file opened would take its place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = open(os.devnull, "w" if number else "r")  # noqa: SIM115 - for as long as the process lives
            if opened.fileno() != number:
                os.dup2(opened.fileno(), number)
            setattr(sys, name, opened)


@contextmanager
def _readers_that_go() -> Iterator[None]:
    """`spot-edge … | head`: the reader has seen enough. Click would call it exit code 1."""
    try:
        yield
    except BrokenPipeError:
        _close_stdout()
        raise click.exceptions.Exit(0) from None


class _Complaints(io.FileIO):
    """Standard error that loses what it cannot write: that nobody can read a complaint is no reason to end."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _let_complaints_go() -> None:
    """A full disk behind standard error, or a reader of it that has gone, must not end what goes well otherwise."""
    if os.name == "posix" and isinstance(sys.stderr, io.TextIOWrapper):  # elsewhere a console is more than a file
        raw = _Complaints(sys.stderr.fileno(), "w", closefd=False)  # a buffer would say again what an interrupt follows
        sys.stderr = io.TextIOWrapper(raw, sys.stderr.encoding, sys.stderr.errors, write_through=True)


def _heed_signals() -> None:
    """SIGTERM, and SIGHUP of a terminal that is closed, end a command as Ctrl-C does: with nothing left half done.

    What the caller has had ignored (`nohup`) stays so. An interrupt that Python cannot raise where it comes, while it
    tidies up, comes once more a moment later; so does one that comes while that is being arranged.
    """
    import signal  # Pillow's decoder of JPEGs imports it, too

    def interrupt(number: int, frame: FrameType | None) -> None:
        within = is_within(frame, lost.__code__)
        once_more(_AGAIN if within else 0.0)
        if not within:
            raise KeyboardInterrupt

    def once_more(seconds: float) -> None:
        if hasattr(signal, "setitimer"):  # not on every system
            signal.signal(signal.SIGALRM, interrupt)
            signal.setitimer(signal.ITIMER_REAL, seconds)  # 0: not at all

    def lost(what: sys.UnraisableHookArgs) -> None:
        if isinstance(what.exc_value, KeyboardInterrupt):
            once_more(_AGAIN)
        else:
            sys.__unraisablehook__(what)

    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, interrupt)
    sys.unraisablehook = lost


def _heed_no_more(*, ignore: bool) -> None:
    """The exit code is known: a further signal does nothing more or, where taking Python apart may take long, ends the
    process there and then. A traceback it is not."""
    import signal

    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_IGN if ignore else signal.SIG_DFL)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _close_stdout() -> None:
    """Let what could not be written go, or Python would try again, and complain, at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
