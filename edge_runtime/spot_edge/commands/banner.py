"""A few words in letters as large as a terminal can show, to be read from afar."""

from __future__ import annotations

__all__ = ["banner"]

_LETTERS = {
    "A": " ███ /█   █/█████/█   █/█   █",
    "C": " ████/█    /█    /█    / ████",
    "D": "████ /█   █/█   █/█   █/████ ",
    "E": "█████/█    /████ /█    /█████",
    "I": "█/█/█/█/█",
    "N": "█   █/██  █/█ █ █/█  ██/█   █",
    "O": " ███ /█   █/█   █/█   █/ ███ ",
    "R": "████ /█   █/████ /█  █ /█   █",
    "S": " ████/█    / ███ /    █/████ ",
    "T": "█████/  █  /  █  /  █  /  █  ",
    "U": "█   █/█   █/█   █/█   █/ ███ ",
    "V": "█   █/█   █/█   █/ █ █ /  █  ",
    "W": "█   █/█   █/█ █ █/██ ██/█   █",
    "Y": "█   █/ █ █ /  █  /  █  /  █  ",
}
_HEIGHT = 5
_HALVES = {"██": "█", "█ ": "▀", " █": "▄", "  ": " "}


def banner(words: str, width: int, *, small: bool = False) -> list[str]:
    """`words` in letters of five lines, or three where `small`, wrapped to `width`; nothing where they do not fit."""
    lines: list[list[str]] = []
    for word in words.upper().split():
        drawn = _draw(word)
        if len(drawn[0]) > width:
            return []
        if lines and len(lines[-1][0]) + 3 + len(drawn[0]) <= width:
            lines[-1] = [f"{left}   {right}" for left, right in zip(lines[-1], drawn, strict=True)]
        else:
            lines.append(drawn)
    rows = [row for line in lines for row in (_halved(line) if small else [*line, ""])]  # half a line is left below
    return [row.rstrip() for row in (rows if small else rows[:-1])]


def _draw(word: str) -> list[str]:
    letters = [_LETTERS[letter].split("/") for letter in word]
    return [" ".join(letter[row] for letter in letters) for row in range(_HEIGHT)]


def _halved(rows: list[str]) -> list[str]:
    """Two rows in each line, by half blocks."""
    rows = [*rows, " " * len(rows[0])]
    return [
        "".join(_HALVES[upper + lower] for upper, lower in zip(*rows[at : at + 2], strict=True))
        for at in range(0, len(rows), 2)
    ]
