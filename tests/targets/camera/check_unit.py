"""The kiosk, started by systemd with examples/kiosk/spot-edge-kiosk.service."""

from __future__ import annotations

import json
import pwd
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from around import LESION, expected_score, until
from feeder import LOOP, fed
from input_key import SPACE, InputKey, Q

UNIT = "spot-edge-kiosk"
KEPT = Path("/var/lib/spot-edge")
OVERRIDE = Path(f"/run/systemd/system/{UNIT}.service.d/check.conf")


def systemctl(*arguments: str) -> None:
    subprocess.run(["systemctl", *arguments], check=True)


def shown(name: str) -> str:
    command = ["systemctl", "show", "--property", name, "--value", UNIT]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def screen() -> str:
    """The text on the first console."""
    return Path("/dev/vcsu1").read_bytes().decode("utf-32-le")


def status(process: str) -> dict[str, list[str]]:
    """A process's status in the kernel."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {name: values.split() for name, _, values in (line.partition(":") for line in lines)}


@pytest.fixture
def unit() -> Iterator[None]:
    """The unit; it is stopped afterwards, and its log is shown if the test fails."""
    yield
    print(screen())
    subprocess.run(["journalctl", "--no-pager", f"--unit={UNIT}"], check=True)
    OVERRIDE.unlink(missing_ok=True)
    systemctl("daemon-reload")
    systemctl("stop", UNIT)


def test_it_classifies_saves_and_restarts(unit: None, uinput: None, loopback: None) -> None:
    keyboard = InputKey(SPACE, Q)
    with fed(LESION):
        systemctl("start", UNIT)
        until(lambda: "frames/s" in screen(), 60)
        process = status(shown("MainPID"))
        user = int(process["Uid"][0])
        assert process["Uid"] == [str(user)] * 4
        assert user not in {0, *(entry.pw_uid for entry in pwd.getpwall() if entry.pw_name != UNIT)}
        assert (process["CapEff"], process["NoNewPrivs"], process["Seccomp"]) == (["0" * 16], ["1"], ["2"])
        keyboard.press(SPACE)
        until(lambda: "looks most like  melanoma" in screen(), 60)
        until(lambda: "frames/s" in screen())
        for words in (
            expected_score(),
            "An aid for trained people, not a diagnosis.",
            "████  █████ █   █",
        ):
            assert words in screen()
        picture, record = sorted(KEPT.iterdir())
        assert json.loads(record.read_text())["source"]["camera"] == LOOP
        assert [path.suffix for path in (picture, record)] == [".jpg", ".json"]
        for path, mode in ((picture, 0o600), (record, 0o600), (KEPT.resolve(), 0o700)):
            assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (user, mode)
        keyboard.press(Q)
        until(lambda: shown("NRestarts") == "1", 30)
        until(lambda: "frames/s" in screen(), 60)
        systemctl("stop", UNIT)
        assert (shown("ActiveState"), shown("Result"), shown("ExecMainStatus")) == ("inactive", "success", "0")
    keyboard.pull()


def test_it_does_not_restart_with_a_rejected_model(unit: None) -> None:
    OVERRIDE.parent.mkdir(parents=True, exist_ok=True)
    OVERRIDE.write_text("[Service]\nExecStart=\nExecStart=/opt/spot/bin/spot-edge kiosk --model /etc/passwd\n")
    systemctl("daemon-reload")
    systemctl("start", UNIT)
    until(lambda: shown("ActiveState") == "failed", 60)
    assert (shown("ExecMainStatus"), shown("NRestarts")) == ("4", "0")
