"""How the command line ends: exit codes, closed pipes, interrupts, terminals, and what it says of itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from spot_edge import RUNTIMES
from spot_edge.cli import TOOLKIT
from spot_edge.cli import spot_edge as group
from spot_edge.commands.classify import classify

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX pipes, signals and terminals")


def test_help_lists_the_commands_of_the_device(spot_edge) -> None:
    said = spot_edge("-h").stdout.decode()
    for name in ("classify", "info"):
        assert f"  {name} " in said
        assert spot_edge(name, "-h").returncode == 0


def test_the_runtimes_to_choose_from_are_all_that_are_known() -> None:
    (runtime,) = [option for option in classify.params if option.name == "runtime"]
    assert list(runtime.type.choices) == list(RUNTIMES)


@pytest.mark.parametrize(
    "arguments",
    [
        ["clasify", "a.png"],
        ["classify"],
        ["classify", "a.png", "--top", "0"],
        ["classify", "a.png", "--threads", "0"],
        ["classify", "a.png", "--runtime", "onnx"],
        ["classify", "a.png", "--colour"],
        ["--unknown"],
    ],
)
def test_a_wrong_command_line_ends_with_2(arguments: list[str], spot_edge) -> None:
    ended = spot_edge(*arguments)
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert b"Usage: spot-edge" in ended.stderr


@pytest.mark.parametrize("name", TOOLKIT)
def test_a_toolkit_command_without_the_toolkit_says_what_to_install(name: str, monkeypatch) -> None:
    monkeypatch.setattr("spot_edge.cli._installed", dict)
    ended = CliRunner().invoke(group, [name, "--whatever"])
    assert ended.exit_code == 2
    assert "from a clone of spot-edge: pip install ./edge_runtime ." in " ".join(ended.output.split())


def test_a_broken_plug_in_does_not_take_help_away(monkeypatch) -> None:
    class Broken:
        def load(self) -> None:
            raise ImportError("no module of that name")

    monkeypatch.setattr("spot_edge.cli._installed", lambda: {"plug-in": Broken()})
    ended = CliRunner().invoke(group, ["--help"])
    assert ended.exit_code == 0
    assert "plug-in" in ended.output
    assert "cannot be loaded" in ended.output


def test_the_version(spot_edge) -> None:
    from spot_edge import __version__

    assert spot_edge("--version").stdout.decode().split()[-1] == __version__


@posix
@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_a_reader_that_has_seen_enough(form: list[str], many, start) -> None:
    running = start("classify", *many, *form)
    assert running.stdout.readline()
    running.stdout.close()
    assert (running.wait(60), running.stderr.read()) == (0, b"")


@posix
@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_ctrl_c_ends_with_130_and_one_word(form: list[str], many, start, tmp_path) -> None:
    out = tmp_path / "kept"
    running = start("classify", *many, *form, "--save", out, "--heatmap", out)
    assert running.stdout.readline()
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert (running.returncode, said.split()) == (130, [b"interrupted"])
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_a_full_disk_behind_standard_output_ends_with_6(form: list[str], picture) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "spot_edge.cli", "classify", picture, *form]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert ended.returncode == 6
    assert ended.stderr == b"spot-edge: cannot write to standard output: No space left on device\n"


def shown(terminal: int) -> bytes:
    """All that is written to a terminal until its other end is closed."""
    seen = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # how Linux says that the other end is closed
            part = b""
        if not part:
            return seen
        seen += part


@pytest.fixture
def on_a_terminal(start) -> Callable[..., tuple[int, bytes]]:
    """on_a_terminal(*arguments, stdout_too): the exit code, and what stderr (and perhaps stdout) showed there."""
    import pty

    def run(*arguments: object, stdout_too: bool = False) -> tuple[int, bytes]:
        ours, theirs = pty.openpty()
        try:
            running = start(*arguments, stderr=theirs, stdout=theirs if stdout_too else subprocess.DEVNULL)
            os.close(theirs)
            seen = shown(ours)
        finally:
            os.close(ours)
        return running.wait(60), seen

    return run


@posix
def test_a_progress_bar_for_many_files_whose_answers_go_elsewhere(many, on_a_terminal) -> None:
    code, seen = on_a_terminal("classify", *many[:5], "--json")
    assert code == 0
    assert b"classify" in seen
    assert b"5/5" in seen


@posix
def test_no_progress_bar_for_one_file_or_between_the_answers(many, on_a_terminal) -> None:
    assert on_a_terminal("classify", many[0], "--json") == (0, b"")
    _, seen = on_a_terminal("classify", *many[:3], stdout_too=True)
    assert b"3/3" not in seen
    assert seen.count(b"looks most like") == 3


def test_answers_come_one_by_one_and_not_at_the_end(many, start) -> None:
    running = start("classify", *many, "--json")
    assert running.stdout.readline()
    assert running.poll() is None
