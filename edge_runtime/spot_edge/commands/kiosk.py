"""`spot-edge kiosk`: classify what a camera sees whenever a button or key is pressed."""

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
from spot_edge.commands.failures import failure_of
from spot_edge.commands.options import camera_options, take, take_burst
from spot_edge.errors import CameraError, SpotError, is_interrupt, is_within
from spot_edge.files import make_folder
from spot_edge.image.inputs import MOST_FRAMES

if TYPE_CHECKING:
    from types import FrameType

    from spot_edge.camera.button import Buttons
    from spot_edge.classifier import Classifier
    from spot_edge.commands.keys import Action, Keys
    from spot_edge.commands.records import ResultFiles
    from spot_edge.commands.screen import Screen
    from spot_edge.image.inputs import Found
    from spot_edge.image.tensor import Prepared
    from spot_edge.prediction.prediction import Prediction

__all__ = ["kiosk"]

_PAUSE = 0.5  # seconds between attempts to open a missing camera
_READ_EVERY = 1.0  # seconds between readings of sharpness and light


@click.command(short_help="Classify what a camera sees at the press of a button.")
@camera_options
@click.option("--burst", type=click.IntRange(2, MOST_FRAMES), metavar="N", help="Pictures per prediction [default: 1].")
@click.option("--model", type=click.Path(), help="Model file [default: the embedded model].")
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Save each prediction and its image in DIR, as `classify --save` does.",
)
@click.option(
    "--views",
    type=click.Choice(("1", "2", "4", "8")),
    default="1",
    show_default=True,
    help="Average N turned and mirrored views of each picture.",
)
def kiosk(source: Camera, burst: int | None, model: str | None, save: Path | None, views: str) -> None:
    """Classify what the camera sees whenever its button, space or Enter is pressed.

    DEVICE is the same as for `spot-edge camera`; a folder's images are used one after the other. The result stays on
    the screen until the next one. Quit with q, Ctrl-C or SIGTERM. If standard input is not a terminal, each line takes
    a picture, and the line q quits.
    """
    if os.name != "posix":
        raise click.UsageError("the kiosk needs Linux or another system with POSIX terminals")
    stops: list[int] = []  # signals that asked us to stop

    def end(number: int, frame: FrameType | None) -> None:
        stops.append(number)  # Python loses an exception that is raised during a finalizer
        if len(stops) == 1 and not is_within(frame, _report_lost.__code__):
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    sys.unraisablehook = _report_lost
    with _clean_exit(stops):
        from spot_edge.camera.button import Buttons
        from spot_edge.commands.keys import Keys
        from spot_edge.commands.loading import load
        from spot_edge.commands.records import ResultFiles
        from spot_edge.commands.screen import Screen

        classifier = load(model, views=int(views))
        files = ResultFiles(records=save and make_folder(save))
        with Keys(sys.stdin.fileno()) as keys, Buttons() as buttons, Screen() as screen, source:
            _Kiosk(source, burst, classifier, files, screen, keys, buttons).run(stops)


class _Kiosk:
    def __init__(
        self,
        source: Camera,
        burst: int | None,
        classifier: Classifier,
        files: ResultFiles,
        screen: Screen,
        keys: Keys,
        buttons: Buttons,
    ) -> None:
        self._source, self._burst, self._classifier, self._files = source, burst, classifier, files
        self._screen, self._keys, self._buttons = screen, keys, buttons
        self._reported = False  # whether unreadable buttons were mentioned
        self._restart_count()

    def run(self, stops: list[int]) -> None:
        """Run until a key quits, or `stops` holds a signal."""
        from spot_edge.commands.screen import ready_text

        spec = self._classifier.model.spec
        medical = any(label.malignant for label in spec.labels)
        self._screen.show(ready_text(spec.name, medical=medical))
        pause = 0.0
        while not stops and (action := self._next_action(pause)) != "end":
            pause = self._classify() if action == "take" else self._watch()

    def _next_action(self, seconds: float) -> Action | None:
        """Wait up to `seconds` for a key or button."""
        import select

        buttons = self._buttons.find()
        self._report_closed_buttons()
        action = self._keys.next()
        if action is None and select.select([*self._keys.handles, *buttons], [], [], seconds)[0]:
            action = "take" if self._buttons.pressed() else self._keys.next()
        return action

    def _report_closed_buttons(self) -> None:
        if self._buttons.closed and not self._reported:
            self._reported = True
            self._screen.note(
                f"No permission for {self._buttons.closed[0]}. If the camera's button does nothing, run `sudo usermod "
                '-aG input "$USER"`, then log in again.'
            )

    def _classify(self) -> float:
        """Take a picture, show its prediction, and save both if --save is given."""
        from spot_edge.commands.screen import capturing_text, error_text, result_text

        self._screen.show(capturing_text)
        try:
            name, prepared, prediction = self._predict()
        except Exception as error:  # whatever happens to one picture, the next one is classified
            failure = failure_of(error, "the picture")
            _raise_permanent(failure)
            self._forget_presses()
            self._screen.show(error_text(str(failure)))
        else:
            self._forget_presses()
            self._screen.show(result_text(prediction))
            self._save(name, prepared, prediction)
        self._restart_count()
        return 0.0

    def _save(self, name: str, prepared: Prepared, prediction: Prediction) -> None:
        try:
            results = self._files.results(prepared, prediction)
        except Exception as error:
            self._screen.note(f"not saved: {failure_of(error, 'the picture')}")
        else:
            self._files.write(name, results)

    def _predict(self) -> tuple[str, Prepared, Prediction]:
        """Returns the name for the results, the image, and the prediction."""
        picture = self._take()
        if self._burst is None:
            prepared = self._prepare(picture)
            return picture.relative, prepared, self._classifier.predict(prepared)
        frames = itertools.chain([picture], take_burst(self._source, self._burst - 1))
        kept, prediction = self._classifier.predict_burst(map(self._prepare, frames))
        return picture.relative, kept, prediction

    def _prepare(self, picture: Found) -> Prepared:
        return self._classifier.prepare(picture.frame or picture.path)

    def _forget_presses(self) -> None:
        """Pressing again before the result appears takes no further picture."""
        self._keys.forget()
        self._buttons.pressed()

    def _take(self) -> Found:
        try:
            return take(self._source)
        except StopIteration:  # start again with the first image of the folder
            self._source.close()
            return take(self._source)

    def _watch(self) -> float:
        """Skip a frame, or show its sharpness and light once a second. Returns how long to wait for the next action."""
        try:
            if not self._source.skip():
                return _PAUSE
            self._frames += 1
            if time.monotonic() - self._since >= _READ_EVERY:
                self._read()
        except Exception as error:
            failure = failure_of(error, "the picture")
            _raise_permanent(failure)
            self._screen.trouble(str(failure))
            self._restart_count()
            return _PAUSE
        return 0.0

    def _read(self) -> None:
        from spot_edge.camera.focus import read_quality
        from spot_edge.image.tensor import decode

        picture = next(self._source)
        rate = (self._frames + 1) / (time.monotonic() - self._since)
        self._restart_count()
        reading = read_quality(decode(picture, self._source.opened)[0])
        self._screen.status(
            f"{rate:.1f} frames/s  sharpness {reading.sharpness:.1f}  brightness {reading.brightness:.0f}  "
            f"too bright {100 * reading.too_bright:.0f} %  too dark {100 * reading.too_dark:.0f} %"
        )

    def _restart_count(self) -> None:
        """Count frames from now on, for the frame rate in the next reading."""
        self._frames, self._since = 0, time.monotonic()


@contextmanager
def _clean_exit(stops: list[int]) -> Iterator[None]:
    """Exit cleanly after a signal, even if Python has wrapped the KeyboardInterrupt in another exception."""
    try:
        yield
    except BaseException as error:
        if not is_interrupt(error) or not (stops or isinstance(error, KeyboardInterrupt)):
            raise


def _report_lost(lost: sys.UnraisableHookArgs) -> None:
    """Report exceptions that Python could not raise, except interrupts, which are in `stops` already."""
    if not isinstance(lost.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(lost)


def _raise_permanent(error: SpotError) -> None:
    """Raise the error again if waiting cannot help."""
    if isinstance(error, CameraError) and not error.transient:
        raise error
