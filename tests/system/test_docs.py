"""The commands and options in the documentation exist, and so do the pages that the code names."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from spot_edge.cli import spot_edge

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    str(path.relative_to(REPOSITORY))
    for path in [
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "docs").rglob("*.md"),
        *(REPOSITORY / "docs").rglob("*.ipynb"),
    ]
    if path.name != "CHANGELOG.md"  # mentions old names
)
END = re.compile(r"\s#|[|;&><…]|\s$")


def text_of(page: Path) -> str:
    """A page as Markdown; a notebook's code cells become fenced blocks."""
    if page.suffix == ".md":
        return page.read_text()
    cells = json.loads(page.read_text())["cells"]
    return "\n".join(f"```\n{''.join(cell['source'])}\n```" for cell in cells if cell["cell_type"] == "code")


def shown(text: str, program: str = "spot-edge") -> Iterator[str]:
    """The arguments of a program in code blocks and in inline code, one string for each call."""
    fenced = False
    for line in text.replace("\\\n", " ").splitlines():
        fenced ^= line.startswith("```")
        found = re.match(rf"\s*(?:\$ )?(?:\S*/)?{program} ([a-z].*)$", line)
        if found and (fenced or line.startswith("    ")):
            yield END.split(found[1])[0]
    for inline in re.findall(rf"(?<!`)`{program}\s+([^`]+)`(?!`)", text):
        yield END.split(" ".join(inline.split()))[0]


def problem(arguments: str) -> str | None:
    """What is wrong with these arguments of `spot-edge`, found without running them."""
    command: click.Command = spot_edge
    words = arguments.split()
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        sub = command.get_command(click.Context(command), words.pop(0))
        if sub is None:
            return f"no such command: {arguments}"
        command = sub
    known = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]} | {
        "--help",
        "-h",
    }
    unknown = [word for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0].strip(",.") not in known]
    return f"{arguments}: no option {', '.join(unknown)}" if unknown else None


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_page_exist(page: str) -> None:
    assert [found for found in map(problem, shown(text_of(REPOSITORY / page))) if found] == []


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_in_the_page_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = [words.split() for words in shown(text_of(REPOSITORY / page), "make")]
    assert {word for words in named for word in words if re.fullmatch(r"[a-z][a-z-]*", word)} <= targets


def test_pages_named_in_the_code_exist() -> None:
    """Messages refer to pages, and generators read and write them."""
    listed = ["git", "ls-files", "-z", *(f"*.{kind}" for kind in ("py", "sh", "toml", "js", "html", "service", "yml"))]
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\0")
    code = [REPOSITORY / name for name in names if name and (REPOSITORY / name).exists()]
    named = {
        f"{path.relative_to(REPOSITORY)}: {page}"
        for path in code
        for page in re.findall(r"(?<![\w/-])docs/[\w./-]+\.(?:md|json|svg|jpg|ipynb)\b", path.read_text())
    }
    assert any(page.endswith("docs/how-to/install.md") for page in named)
    assert [each for each in sorted(named) if not (REPOSITORY / each.split(": ")[1]).exists()] == []


def test_unknown_commands_and_options_are_detected() -> None:
    page = "    spot-edge pack-run runs/x\n\nRun `spot-edge train\nspot --trunk FILE` and `spot-edge doctor --json`.\n"
    assert [*shown(page)] == ["pack-run runs/x", "train spot --trunk FILE", "doctor --json"]
    assert [problem(each) is None for each in shown(page)] == [False, False, True]
