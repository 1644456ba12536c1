"""The texts of the kiosk's screen, each for a given number of columns and lines."""

from __future__ import annotations

import textwrap
import time
from dataclasses import replace

from spot_edge.commands.banner import banner
from spot_edge.commands.screen import Text
from spot_edge.errors import one_line
from spot_edge.prediction import Prediction
from spot_edge.wording import DISCLAIMER, answer

__all__ = ["judged", "ready", "refused", "taking"]

_NEXT = "Next: button, space or Enter. End: q."


def ready(model: str) -> Text:
    """What is to be seen before the first picture."""

    def text(columns: int, lines: int) -> list[str]:
        said = f"Model {model}. Hold the dermatoscope still on the lesion, then press its button, space or Enter."
        return _fit("ready", columns, lines, [[*_wrap(columns, said), "", *_wrap(columns, DISCLAIMER, "End: q.")]])

    return text


def taking(columns: int, lines: int) -> list[str]:
    """What is to be seen while a picture is taken and judged: nothing of the answer before."""
    return _wrap(columns, "Hold still: taking a picture.") if lines else []


def judged(prediction: Prediction) -> Text:
    """The answer: how urgent in large letters, then all that `spot-edge classify` says."""
    time_of_day = time.strftime("%H:%M:%S", time.localtime(prediction.source["captured_at"]))
    origin = one_line(f"Picture taken at {time_of_day} by {prediction.source['camera']}")

    def text(columns: int, lines: int) -> list[str]:
        taken, end = _wrap(columns, origin), _wrap(columns, DISCLAIMER)
        two = answer(prediction, 2, columns)
        no_set = replace(prediction, conformal=None)  # nor this, nor a note must push the disclaimer out
        few, one = (answer(no_set, top, columns) for top in (2, 1))
        bare = answer(no_set, 2 if prediction.near_tie else 1, columns, notes=False)
        following = _wrap(columns, _NEXT)
        bodies = [
            [*taken, *two, "", *end, "", *following],
            [*taken, *two, *end, *following],
            [*taken, *few, *end, *following],
            [*two, *end, *following],
            [*few, *end, *following],
            [*one, *end, *following],
            [*bare, *end, *following],
        ]
        return _fit(prediction.triage.category, columns, lines, bodies)

    return text


def refused(reason: str) -> Text:
    """Why there is no answer."""

    def text(columns: int, lines: int) -> list[str]:
        return [*_wrap(columns, "No answer.", one_line(reason)), "", *_wrap(columns, _NEXT)]

    return text


def _fit(title: str, columns: int, lines: int, bodies: list[list[str]]) -> list[str]:
    """The first of `bodies` that has room, below the largest title that has room with it; where none has room with the
    whole body but the last, no title."""
    if not lines:
        return bodies[0]
    titles = [[*large, ""] if (large := banner(title, columns)) else [], banner(title, columns, small=True)]
    for head, body in [(head, body) for body in bodies[:5] for head in titles if head] + [([], b) for b in bodies]:
        if len(head) + len(body) <= lines:
            return head + body
    return [*bodies[-1][: lines - 1], "(screen too small for the rest)"]


def _wrap(columns: int, *texts: str) -> list[str]:
    return [line for text in texts for line in textwrap.wrap(text, columns)]
