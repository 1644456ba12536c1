"""`spot-edge kiosk`: a device that judges what its camera sees whenever a button or a key is pressed."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spot_edge.camera.camera import Camera
from spot_edge.commands.options import camera_options, take, take_burst
from spot_edge.errors import CameraError, InputError, SpotError, is_interrupt, is_within
from spot_edge.files import make_folder
from spot_edge.image.inputs import MOST_FRAMES

if TYPE_CHECKING:
    from types import FrameType

    from spot_edge.camera.button import Buttons
    from spot_edge.classifier import Classifier
    from spot_edge.commands.keys import Keys, Wish
    from spot_edge.commands.records import Keeper
    from spot_edge.commands.screen import Screen
    from spot_edge.image.inputs import Found
    from spot_edge.image.tensor import Prepared
    from spot_edge.prediction.prediction import Prediction

__all__ = ["kiosk"]

_PAUSE = 0.5  # seconds between looking for a camera that has gone
_READ_EVERY = 1.0  # seconds between readings of sharpness and light


@click.command()
@camera_options
@click.option("--burst", type=click.IntRange(2, MOST_FRAMES), metavar="N", help="N pictures for each answer [one].")
@click.option("--model", type=click.Path(), help="Model file [the embedded model].")
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep each answer and its picture in DIR, as `classify --save` does.",
)
def kiosk(source: Camera, burst: int | None, model: str | None, save: Path | None) -> None:
    """Judge what the camera sees whenever its button, space or Enter is pressed.

    DEVICE is as for `spot-edge camera`; a folder's pictures come in turn. The answer stays on the screen until the next
    one. q, Ctrl-C and SIGTERM end it; where standard input is no terminal, a line takes a picture and the line q ends.
    """
    if os.name != "posix":
        raise click.UsageError("the kiosk needs Linux or another system with POSIX terminals")
    asked: list[int] = []  # to end

    def end(number: int, frame: FrameType | None) -> None:
        asked.append(number)  # an exception that is raised while Python tidies up is lost
        if len(asked) == 1 and not is_within(frame, _tell_of_faults.__code__):
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    sys.unraisablehook = _tell_of_faults
    with _ending(asked):
        from spot_edge.camera.button import Buttons
        from spot_edge.commands.keys import Keys
        from spot_edge.commands.options import load
        from spot_edge.commands.records import Keeper
        from spot_edge.commands.screen import Screen

        classifier = load(model)
        keeper = Keeper(records=save and make_folder(save))
        with Keys(sys.stdin.fileno()) as keys, Buttons() as buttons, Screen() as screen, source:
            _Kiosk(source, burst, classifier, keeper, screen, keys, buttons).run(asked)


class _Kiosk:
    def __init__(
        self,
        source: Camera,
        burst: int | None,
        classifier: Classifier,
        keeper: Keeper,
        screen: Screen,
        keys: Keys,
        buttons: Buttons,
    ) -> None:
        self._source, self._burst, self._classifier, self._keeper = source, burst, classifier, keeper
        self._screen, self._keys, self._buttons = screen, keys, buttons
        self._told = False  # of buttons that we may not read
        self._begin_to_count()

    def run(self, asked: list[int]) -> None:
        """Go on until somebody wishes to end, or `asked` holds something."""
        from spot_edge.commands.screen import ready

        self._screen.show(ready(self._classifier.model.spec.name))
        pause = 0.0
        while not asked and (wish := self._wish(pause)) != "end":
            pause = self._judge() if wish == "take" else self._watch()

    def _wish(self, seconds: float) -> Wish | None:
        """What somebody wishes for, waited for up to `seconds`."""
        import select

        buttons = self._buttons.look()
        self._tell_of_closed_buttons()
        wish = self._keys.next()
        if wish is None and select.select([*self._keys.handles, *buttons], [], [], seconds)[0]:
            wish = "take" if self._buttons.pressed() else self._keys.next()
        return wish

    def _tell_of_closed_buttons(self) -> None:
        if self._buttons.closed and not self._told:
            self._told = True
            self._screen.note(
                f"No permission for {self._buttons.closed[0]}: if the camera's button does nothing, run `sudo usermod "
                '-aG input "$USER"`, then log in again.'
            )

    def _judge(self) -> float:
        """Take a picture, show what the model says of it, and keep both where that was asked for."""
        from spot_edge.commands.screen import judged, refused, taking

        self._screen.show(taking)
        try:
            name, prepared, prediction = self._answer()
        except (CameraError, InputError) as error:
            _raise_lasting(error)
            self._forget_wishes()
            self._screen.show(refused(str(error)))
        else:
            self._forget_wishes()
            self._screen.show(judged(prediction))
            self._keeper.keep(name, prepared, prediction)
        self._begin_to_count()
        return 0.0

    def _answer(self) -> tuple[str, Prepared, Prediction]:
        """What to call the results of a press, the picture, and what the model says."""
        picture = self._take()
        if self._burst is None:
            prepared = self._prepare(picture)
            return picture.relative, prepared, self._classifier.predict(prepared)
        frames = itertools.chain([picture], take_burst(self._source, self._burst - 1))
        kept, prediction = self._classifier.predict_burst(map(self._prepare, frames))
        return picture.relative, kept, prediction

    def _prepare(self, picture: Found) -> Prepared:
        return self._classifier.prepare(picture.frame or picture.path)

    def _forget_wishes(self) -> None:
        """Who has pressed again before there was an answer wants one picture."""
        self._keys.forget()
        self._buttons.pressed()

    def _take(self) -> Found:
        try:
            return take(self._source)
        except StopIteration:  # a folder that is through begins anew
            self._source.close()
            return take(self._source)

    def _watch(self) -> float:
        """Let a frame go by, now and then with a look at its sharpness and light; how long to wait then for a wish."""
        try:
            if not self._source.skip():
                return _PAUSE
            self._frames += 1
            if time.monotonic() - self._since >= _READ_EVERY:
                self._read()
        except (CameraError, InputError) as error:
            _raise_lasting(error)
            self._screen.trouble(str(error))
            self._begin_to_count()
            return _PAUSE
        return 0.0

    def _read(self) -> None:
        from spot_edge.camera.focus import read_quality
        from spot_edge.image.tensor import decode

        picture = next(self._source)
        rate = (self._frames + 1) / (time.monotonic() - self._since)
        self._begin_to_count()
        reading = read_quality(decode(picture, self._source.opened)[0])
        self._screen.status(
            f"{rate:.1f} frames/s  sharpness {reading.sharpness:.1f}  brightness {reading.brightness:.0f}  "
            f"too bright {100 * reading.too_bright:.0f} %  too dark {100 * reading.too_dark:.0f} %"
        )

    def _begin_to_count(self) -> None:
        """Frames are counted from now on, for the rate in the next reading."""
        self._frames, self._since = 0, time.monotonic()


@contextmanager
def _ending(asked: list[int]) -> Iterator[None]:
    """End well what was `asked` to end, also where Python has made another exception of the KeyboardInterrupt, as it
    does within the making of a class."""
    try:
        yield
    except BaseException as error:
        if not is_interrupt(error) or not (asked or isinstance(error, KeyboardInterrupt)):
            raise


def _tell_of_faults(lost: sys.UnraisableHookArgs) -> None:
    """What Python could not raise where it happened, told, but for a wish to end: that is noted already."""
    if not isinstance(lost.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(lost)


def _raise_lasting(error: SpotError) -> None:
    """Raise again what no waiting will mend."""
    if isinstance(error, CameraError) and not error.transient:
        raise error
