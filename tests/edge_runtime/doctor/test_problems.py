"""Which problems the doctor reports, and how, on made-up machines."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spot_edge.camera.v4l2 import CAPABILITY, Kernel
from spot_edge.doctor import cameras as cameras_module
from spot_edge.doctor import examine as examine_module
from spot_edge.doctor.cameras import Cameras, CameraStatus, read_cameras
from spot_edge.doctor.examine import Findings, FreeSpace, Software, examine, read_free_space
from spot_edge.doctor.problems import Problem, find_problems
from spot_edge.doctor.selftest import SelfTest
from spot_edge.doctor.summary import as_record, report_lines
from spot_edge.errors import CheckError, InterpreterError, ModelError
from spot_edge.machine import Machine, Reading

SCOPE = CameraStatus("/dev/video0", "Scope 2", ("MJPG", "YUYV"))
PASSED = SelfTest(load_ms=1.0, first_ms=16.2, median_ms=14.6, runs=9, away=0.0)
HEALTHY = Findings(cameras=Cameras((SCOPE,), True), selftest=PASSED)
USERMOD = 'run `sudo usermod -aG video "$USER"`, then log in again'


class Nodes(Kernel):
    """A kernel with one video device per reply: an error number, or the bytes of QUERYCAP."""

    def __init__(self, *replies: int | bytearray) -> None:
        self.replies = replies

    def nodes(self) -> list[str]:
        return [f"/dev/video{number}" for number in range(len(self.replies))]

    def open(self, path: str) -> int:
        number = int(path.removeprefix("/dev/video"))
        reply = self.replies[number]
        if isinstance(reply, int):
            raise OSError(reply, "scripted")
        return number

    def close(self, handle: int) -> None:
        """Do nothing."""

    def ioctl(self, handle: int, request: int, data: bytearray) -> None:
        reply = self.replies[handle]
        if request >> 16 & 0x3FFF != CAPABILITY.size or isinstance(reply, int):
            raise OSError(errno.EINVAL, "no more")
        data[:] = reply


def texts(findings: Findings) -> list[str]:
    return [problem.text for problem in find_problems(findings)]


def test_nothing_wrong_is_reported() -> None:
    assert find_problems(HEALTHY) == []
    assert report_lines(HEALTHY, [])[-1] == "problems: none"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"cameras": Cameras((), True)}, ["no camera found: plug one in"]),
        ({"cameras": Cameras((), None)}, ["no camera found: plug one in"]),
        ({"cameras": Cameras((), False)}, ["no camera found: plug one in", "this user is not in the group video: run"]),
        ({"cameras": Cameras((SCOPE,), False)}, []),  # it opened anyway
        ({"cameras": Cameras((SCOPE, CameraStatus("/dev/video2", "?", (), "/dev/video2: busy")), True)},
         ["/dev/video2: busy"]),
        ({"cameras": Cameras((CameraStatus("/dev/video0", "?", (), f"closed: {USERMOD}"),), False)},
         [f"closed: {USERMOD}"]),
        ({"reading": Reading(flags=0x1)}, ["under-voltage now: use the official power supply"]),
        ({"reading": Reading(flags=0x10000)}, ["under-voltage since the last start: use the official"]),
        ({"reading": Reading(flags=0x10001)}, ["under-voltage now: "]),
        ({"reading": Reading(flags=0xE0008)},
         ["slowed down now (soft temperature limit)", "slowed down since the last start (clock capped, throttled)"]),
        ({"reading": Reading(flags=0)}, []),
        ({"reading": Reading(temperature_c=80.2)}, ["hot (80 C): "]),
        ({"reading": Reading(temperature_c=79.9)}, []),
        ({"zones": {"cpu-thermal": 84.0, "board": 30.0}}, ["hot (84 C): "]),
        ({"reading": Reading(governor="powersave"), "machine": Machine(clock_driver="cpufreq-dt")},
         ["the clock governor powersave keeps the processor at its lowest speed. Change it: echo ondemand"]),
        ({"reading": Reading(governor="powersave"), "machine": Machine(clock_driver="intel_pstate")}, []),
        ({"room": FreeSpace(199_000_000, 10**9, 10**9)}, ["the disk is nearly full, 199 MB free in this folder"]),
        ({"room": FreeSpace(10**9, 0, 10**9)}, ["the disk is nearly full, 0 MB free for temporary files"]),
        ({"room": FreeSpace(10**9, 10**9, 99_000_000)}, ["little memory, 99 MB available"]),
        ({"failed": ("sensors: KeyError: 1",)}, ["the doctor could not examine the sensors: KeyError: 1: please"]),
        ({"selftest": replace(PASSED, notes=("measured elsewhere",))}, ["measured elsewhere"]),
    ],
)  # fmt: skip
def test_notes_do_not_fail_the_check(changed: dict[str, Any], expected: list[str]) -> None:
    found = find_problems(replace(HEALTHY, **changed))
    assert len(found) == len(expected)
    assert all(problem.text.startswith(start) for problem, start in zip(found, expected, strict=True))
    assert {problem.exit_code for problem in found} <= {0}


def test_errors_come_first_and_are_reported_once() -> None:
    none, rejected = InterpreterError("no interpreter"), ModelError("refused")
    selftest = SelfTest(InterpreterError("no interpreter"), "classify")
    findings = Findings(software=Software(error=none), model=rejected, selftest=selftest)
    found = find_problems(findings)
    assert [(problem.text, problem.exit_code) for problem in found][:2] == [("no interpreter", 5), ("refused", 4)]
    assert [problem.exit_code for problem in found[2:]] == [0]
    wrong = find_problems(replace(HEALTHY, selftest=SelfTest(CheckError("wrong"), "classify")))
    assert wrong == [Problem("wrong", 8)]


def test_cameras_without_permission_or_frames(monkeypatch) -> None:
    monkeypatch.setattr(cameras_module, "find_spec", lambda name: None)
    card = CAPABILITY.pack(b"uvcvideo", b"Scope 2", b"usb-1.2", 0, 0x80000000, 0x04000001)
    found = read_cameras(Nodes(errno.EACCES, errno.EBUSY, card)).seen
    assert [(seen.path, seen.name) for seen in found] == [
        ("/dev/video2", "Scope 2"),
        ("/dev/video0", "?"),
        ("/dev/video1", "?"),
    ]
    assert found[0].problem == "/dev/video2: no frames yet. Is the program that feeds this device running?"
    assert found[1].problem == f"/dev/video0: no permission: {USERMOD}"
    assert "in use by another program" in str(found[2].problem)


@pytest.fixture
def untested(monkeypatch) -> None:
    """Replace the self-test, which reads nothing below the root; test_doctor.py runs the real one."""
    monkeypatch.setattr(examine_module, "run_selftest", lambda path: PASSED)


@pytest.mark.parametrize("name", ["pi3", "pi4", "pi5"])
@pytest.mark.usefixtures("untested")
def test_the_report_of_a_raspberry_pi(name: str, board, firmware) -> None:
    findings = examine(None, board(name), Nodes(), firmware("0x50000"))
    text = "\n".join(report_lines(findings, find_problems(findings)))
    assert re.search(r"^machine     Raspberry Pi \d Model B", text, re.MULTILINE)
    assert re.search(r"^processor   Cortex-A\d\d, ", text, re.MULTILINE)
    assert "\nsystem      Debian GNU/Linux 12 (bookworm), " in text
    assert "\ntemperature 48.3 C (cpu-thermal)\n" in text
    assert re.search(r"^clock       600 MHz now, \d{4} MHz at most, governor ondemand$", text, re.MULTILINE)
    assert "\nthrottling  now: none; since the last start: under-voltage, throttled\n" in text
    assert "under-voltage since the last start: use the official power supply" in text
    assert "deadbeef" not in text
    assert max(map(len, text.splitlines())) <= 80
    record = as_record(findings, find_problems(findings))
    assert record["throttling"] == {"now": [], "since_boot": ["under-voltage", "throttled"]}
    assert "deadbeef" not in json.dumps(record)


@pytest.mark.usefixtures("untested")
def test_the_report_of_a_machine_without_information(tmp_path: Path) -> None:
    findings = examine(None, tmp_path, Nodes(), str(tmp_path / "missing"))
    text = "\n".join(report_lines(findings, find_problems(findings)))
    for key in ("machine", "memory", "temperature", "clock", "throttling"):
        assert f"\n{key:<11} unknown\n" in text
    assert as_record(findings, [])["throttling"] == {"now": None, "since_boot": None}


def fail(*arguments: object) -> None:
    raise ZeroDivisionError("a bug")


@pytest.mark.usefixtures("untested")
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("read_machine", "machine"),
        ("read_free_space", "room"),
        ("read_software", "software"),
        ("read_model", "model"),
        ("read_cameras", "cameras"),
        ("run_selftest", "self-test"),
    ],
)
def test_a_check_that_fails_leaves_the_others(name: str, part: str, board, firmware, monkeypatch) -> None:
    whole = examine(None, board("pi4"), Nodes(), firmware("0x0"))
    monkeypatch.setattr(examine_module, name, fail)
    findings = examine(None, board("pi4"), Nodes(), firmware("0x0"))
    assert findings.failed == (f"{part}: ZeroDivisionError: a bug",)
    lines, before = (report_lines(each, find_problems(each)) for each in (findings, whole))
    assert f"could not examine the {part}: ZeroDivisionError: a bug" in " ".join("\n".join(lines).split())
    assert len(set(before) - set(lines)) <= 8
    assert json.dumps(as_record(findings, find_problems(findings)))


def test_no_folder_for_temporary_files(monkeypatch) -> None:
    def none() -> str:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr("tempfile.gettempdir", none)
    found = read_free_space()
    assert found.here
    assert found.temporary is None


def test_long_texts_are_wrapped_and_control_characters_shown() -> None:
    lines = report_lines(HEALTHY, [Problem("a\x1b[2J " + 60 * "word ", 8), Problem("b")])
    at = lines.index("problems:")
    assert lines[at + 1].startswith("- a\\x1b[2J word")
    assert all(line.startswith("  word") for line in lines[at + 2 : at + 5])
    assert lines[-2:] == ["notes:", "- b"]
    assert max(map(len, lines)) <= 80


def test_a_32_bit_program_on_a_64_bit_kernel_is_reported(plant: Callable[..., Path]) -> None:
    lines = report_lines(replace(HEALTHY, machine=Machine(bits=32, architecture="aarch64", cores=4)), [])
    assert "32-bit programs on a 64-bit kernel (see linux32 in docs/how-to/install.md)" in " ".join(
        " ".join(lines).split()
    )
