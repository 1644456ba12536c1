"""Help texts: a screenful each, device commands first, nothing cut off."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from spot_edge.cli import _DEVICE, TOOLKIT
from spot_edge.cli import spot_edge as group

LINES, COLUMNS = 24, 80


def groups() -> Iterator[tuple[str, ...]]:
    """The paths of `spot-edge` and of all groups below it, including those of an installed toolkit."""
    yield ()
    context = click.Context(group)
    for name in group.list_commands(context):
        if isinstance(group.get_command(context, name), click.Group):
            yield (name,)


def help_of(*arguments: str) -> str:
    return CliRunner().invoke(group, [*arguments, "--help"], terminal_width=COLUMNS, prog_name="spot-edge").output


@pytest.mark.parametrize("path", list(groups()), ids=lambda path: path[0] if path else "main")
def test_the_help_of_a_group_fits_a_screen(path: tuple[str, ...]) -> None:
    text = help_of(*path)
    assert text.startswith(" ".join(["Usage: spot-edge", *path]))
    assert len(text.splitlines()) < LINES  # the last line belongs to the prompt
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert "..." not in text.partition("\n\n")[2]


def test_device_commands_come_first_then_the_toolkit_in_order_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spot_edge.cli._installed", lambda: dict.fromkeys(sorted(TOOLKIT)))
    device, toolkit = help_of().split("Device commands:")[1].split("Toolkit commands:")
    assert [line.split()[0] for line in device.strip().splitlines()] == list(_DEVICE)
    assert [line.split()[0] for line in toolkit.strip().splitlines()] == list(TOOLKIT)


def test_without_the_toolkit_only_the_device_commands_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spot_edge.cli._installed", dict)
    text = help_of()
    assert "not a diagnosis" in text
    assert "Toolkit" not in text


@pytest.mark.parametrize("name", _DEVICE)
def test_a_command_has_the_same_line_in_the_main_help_and_in_itself(name: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    assert command.short_help == _DEVICE[name][1]


def test_the_line_of_runs_names_its_commands() -> None:
    runs = group.get_command(click.Context(group), "runs")
    commands = runs.commands if isinstance(runs, click.Group) else {}  # none without the toolkit
    assert [name for name in commands if name not in TOOLKIT["runs"].lower()] == []


def test_no_command_shows_the_help() -> None:
    assert CliRunner().invoke(group, [], terminal_width=COLUMNS, prog_name="spot-edge").output == help_of()
