"""What the kiosk's screen shows at every size and in every encoding."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from spot_edge.classifier import Classifier
from spot_edge.commands.screen import Screen, banner, error_text, ready_text, result_text
from spot_edge.image.source import Source
from spot_edge.prediction.wording import disclaimer

SIZES = [(columns, lines) for columns in (38, 48, 58, 78, 98, 158) for lines in (13, 18, 22, 40)]


@pytest.fixture(scope="module")
def prediction(classifier: Classifier, lesion: bytes):
    found = classifier.classify(Source.frame(lesion, "/dev/video0", 1_764_000_000.0))
    return replace(found, notes=())  # another interpreter than the measured one adds a note


def flowing(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_every_text_fits_and_shows_the_disclaimer(columns: int, lines: int, prediction) -> None:
    for text in (
        ready_text("spot", medical=True),
        result_text(prediction),
        error_text("/dev/video0: the camera was unplugged"),
    ):
        shown = text(columns, lines)
        assert len(shown) <= lines
        assert max(map(len, shown)) <= columns
        assert "Quit: q." in flowing(shown)
    shown = flowing(result_text(prediction)(columns, lines))
    assert disclaimer(medical=True) in shown
    assert f"{prediction.triage.category.upper()}: malignant score" in shown
    if lines > 18:
        assert "by /dev/video0" in shown
    assert f"looks most like {prediction.top.name} model score" in shown


def test_a_note_does_not_push_the_disclaimer_out(prediction) -> None:
    noted = replace(prediction, notes=("this model's figures were measured in another interpreter",) * 3)
    assert disclaimer(medical=True) in flowing(result_text(noted)(38, 13))


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_a_near_tie_shows_both_classes_and_pushes_nothing_out(columns: int, lines: int, prediction) -> None:
    first, second, *rest = prediction.ranked
    tied = replace(prediction, ranked=(first._replace(score=0.45), second._replace(score=0.41), *rest))
    shown = result_text(tied)(columns, lines)
    assert len(shown) <= lines
    assert disclaimer(medical=True) in flowing(shown)
    assert second.name in flowing(shown)
    if lines > 18:
        assert f"near tie: {first.name} and {second.name} score almost the same" in flowing(shown)


def test_a_larger_screen_has_larger_letters(prediction) -> None:
    category = prediction.triage.category
    assert result_text(prediction)(78, 22)[:5] == banner(category, 78)
    assert result_text(prediction)(78, 14)[:3] == banner(category, 78, small=True)
    assert "model score" in result_text(prediction)(78, 10)[1]


def test_a_screen_that_is_too_small_says_so(prediction) -> None:
    shown = result_text(prediction)(38, 8)
    assert len(shown) == 8
    assert "too small" in shown[-1]


@pytest.mark.parametrize("words", ["review now", "review soon", "routine", "cannot assess", "ready"])
@pytest.mark.parametrize("small", [False, True])
def test_every_category_can_be_written_large_in_40_columns(words: str, small: bool) -> None:
    for width in (38, 78):
        drawn = banner(words, width, small=small)
        assert drawn
        assert max(map(len, drawn)) <= width
        assert not set("".join(drawn)) - set(" █▀▄")
    assert banner(words, 20, small=small) == []


def test_both_letter_sizes_have_the_same_shapes() -> None:
    large, small = banner("review now", 78), banner("review now", 78, small=True)
    whole = [row.ljust(60) for row in [*large, ""]]
    for line, (upper, lower) in zip(small, zip(whole[::2], whole[1::2], strict=True), strict=True):
        assert [character in "█▀" for character in line.ljust(60)] == [character == "█" for character in upper]
        assert [character in "█▄" for character in line.ljust(60)] == [character == "█" for character in lower]


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_letters_for_a_terminal_without_block_characters(encoding: str, prediction) -> None:
    with Terminal(io.BytesIO(), encoding=encoding) as stream:
        with Screen(stream) as screen:
            screen.show(result_text(prediction))
        shown = stream.buffer.getvalue().decode(encoding)
    assert ("█" in shown) == (encoding == "utf-8")
    assert ("####" in shown) == (encoding != "utf-8")


def test_a_note_stays_below_the_text_until_the_next_one() -> None:
    with Terminal(io.BytesIO(), encoding="utf-8") as stream:
        screen = Screen(stream)
        screen.show(ready_text("spot", medical=True))
        screen.note("No permission\x1b for it.")
        last = stream.buffer.getvalue().decode().split("\033[H")[-1]
        assert last.endswith("No permission\\x1b for it.")
        assert "Model spot." in last
        screen.show(error_text("gone"))
        assert "permission" not in stream.buffer.getvalue().decode().split("\033[H")[-1]
