"""The kiosk's systemd unit, checked by systemd itself."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from spot_edge.commands.kiosk import kiosk
from spot_edge.errors import EXIT_CODES

UNIT = Path(__file__).parents[3] / "examples" / "kiosk" / "spot-edge-kiosk.service"
MOST_EXPOSED = 1.5  # of 10, by `systemd-analyze security`

analyzed = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="NOT RUN: no systemd-analyze here")


def setting(name: str) -> str:
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)
    return value


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists here."""
    copy = tmp_path / UNIT.name
    program = setting("ExecStart").split()[0]
    copy.write_text(UNIT.read_text().replace(f"={program} ", f"={shutil.which('true')} "))
    return copy


def test_its_command_line_is_valid() -> None:
    program, name, *arguments = shlex.split(setting("ExecStart"))
    assert (Path(program).name, name) == ("spot-edge", "kiosk")
    assert kiosk.make_context("kiosk", arguments).params["save"] == Path("/var/lib", setting("StateDirectory"))


def test_the_exit_codes_that_prevent_a_restart_are_documented() -> None:
    codes = set(map(int, setting("RestartPreventExitStatus").split()))
    assert codes < set(EXIT_CODES)
    assert not codes & {0, 1, 6, 9}


@analyzed
def test_systemd_understands_every_line(unit: Path) -> None:
    found = analyze("verify", "--man=no", unit)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    unit.write_text(unit.read_text().replace("RestrictNamespaces=", "RestrictNameSpaces="))
    assert "RestrictNameSpaces" in analyze("verify", "--man=no", unit).stderr


@analyzed
def test_it_is_hardened(unit: Path) -> None:
    found = analyze("security", "--offline=true", "--no-pager", unit)
    if "unrecognized option" in found.stderr:
        pytest.skip("NOT RUN: this systemd-analyze cannot check a file")
    (level,) = re.findall(r"Overall exposure level for \S+: (\d+\.\d)", found.stdout)
    assert float(level) <= MOST_EXPOSED, found.stdout
