"""How the command line ends: exit codes, closed pipes, interrupts and terminals; its help and version."""

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
    text = spot_edge("-h").stdout.decode()
    for name in ("classify", "info"):
        assert f"  {name} " in text
        assert spot_edge(name, "-h").returncode == 0


def test_every_known_runtime_can_be_chosen() -> None:
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
def test_a_wrong_command_line_exits_with_2(arguments: list[str], spot_edge) -> None:
    result = spot_edge(*arguments)
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"Usage: spot-edge" in result.stderr


@pytest.mark.parametrize("name", TOOLKIT)
def test_a_toolkit_command_without_the_toolkit_says_what_to_install(name: str, monkeypatch) -> None:
    monkeypatch.setattr("spot_edge.cli._installed", dict)
    result = CliRunner().invoke(group, [name, "--whatever"])
    assert result.exit_code == 2
    assert "from a clone of spot-edge: pip install ./edge_runtime ." in " ".join(result.output.split())


def test_help_works_with_a_broken_plug_in(monkeypatch) -> None:
    class Broken:
        def load(self) -> None:
            raise ImportError("no module of that name")

    monkeypatch.setattr("spot_edge.cli._installed", lambda: {"plug-in": Broken()})
    result = CliRunner().invoke(group, ["--help"])
    assert result.exit_code == 0
    assert "plug-in" in result.output
    assert "cannot be loaded" in result.output


def test_the_version(spot_edge) -> None:
    from spot_edge import __version__

    assert spot_edge("--version").stdout.decode().split()[-1] == __version__


@posix
@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_a_reader_may_close_early(form: list[str], many, start) -> None:
    running = start("classify", *many, *form)
    assert running.stdout.readline()
    running.stdout.close()
    assert (running.wait(60), running.stderr.read()) == (0, b"")


@posix
@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_ctrl_c_exits_with_130_and_one_word(form: list[str], many, start, tmp_path) -> None:
    out = tmp_path / "kept"
    running = start("classify", *many, *form, "--save", out, "--heatmap", out)
    assert running.stdout.readline()
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=60)
    assert (running.returncode, stderr.split()) == (130, [b"interrupted"])
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_a_full_disk_at_standard_output_exits_with_6(form: list[str], picture) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "spot_edge.cli", "classify", picture, *form]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert result.returncode == 6
    assert result.stderr == b"spot-edge: cannot write to standard output: No space left on device\n"


def shown(terminal: int) -> bytes:
    """Everything written to a terminal until its other end closes."""
    seen = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux reports the closed end as an error
            part = b""
        if not part:
            return seen
        seen += part


@pytest.fixture
def on_a_terminal(start) -> Callable[..., tuple[int, bytes]]:
    """on_a_terminal(*arguments, stdout_too): the exit code, and the terminal's text: stderr, stdout on request."""
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
def test_a_progress_bar_if_the_predictions_do_not_go_to_the_terminal(many, on_a_terminal) -> None:
    code, seen = on_a_terminal("classify", *many[:5], "--json")
    assert code == 0
    assert b"classify" in seen
    assert b"5/5" in seen


@posix
def test_no_progress_bar_for_one_file_or_between_predictions(many, on_a_terminal) -> None:
    assert on_a_terminal("classify", many[0], "--json") == (0, b"")
    _, seen = on_a_terminal("classify", *many[:3], stdout_too=True)
    assert b"3/3" not in seen
    assert seen.count(b"looks most like") == 3


def test_predictions_are_printed_one_by_one(many, start) -> None:
    running = start("classify", *many, "--json")
    assert running.stdout.readline()
    assert running.poll() is None
