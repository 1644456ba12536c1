"""A device with an unusual system: full or read-only disks, no home, no user, a wrong clock or locale.

Mounts and users exist only in namespaces of the test's own processes: nothing outside of them changes.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Run = Callable[..., subprocess.CompletedProcess[bytes]]

ALONE = ["unshare", "--mount"]
OWN_USER = ["unshare", "--user", "--map-root-user", "--mount"]  # for ordinary users, if the system permits it
NOBODY = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]
CLOSED = 'mount --bind "{0}" "{0}" && mount -o remount,bind,ro "{0}"'
SMALL = 'mount -t tmpfs -o size=64k none "{0}"'
# Stops the clock as seen by spot-edge: no process can have a system clock of its own.
CLOCK = """
import time
def stand_still(now, local=time.localtime, form=time.strftime):
    time.time, time.time_ns = (lambda: now), (lambda: int(now * 1e9))
    time.localtime = lambda seconds=now: local(seconds)
    time.strftime = lambda how, moment=local(now): form(how, moment)
stand_still({})
"""


@functools.cache
def works(*command: str) -> bool:
    """Return whether this system has the command and permits it."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


@pytest.fixture
def mounted(tmp_path: Path) -> Run:
    """mounted(mount, *arguments): run the command line after `mount`, a line of sh."""
    prefix = next((way for way in (ALONE, OWN_USER) if works(*way, "sh", "-c", CLOSED.format(tmp_path))), None)
    if prefix is None:
        pytest.skip("NOT RUN: this system permits no mounts: read-only and full file systems were not tested")

    def run(mount: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return command(*arguments, before=[*prefix, "sh", "-c", f'{mount} && exec "$@"', "sh"], **options)

    return run


def command(*arguments: object, before: list[str] | None = None, **options: Any) -> Any:
    """Run the command line, started by `before`; fail if it prints a traceback."""
    line = [*(before or []), sys.executable, "-m", "spot_edge.cli", *map(str, arguments)]
    env = {name: value for name, value in (os.environ | options.pop("env", {})).items() if value is not None}
    result = subprocess.run(line, capture_output=True, timeout=120, check=False, env=env, **options)
    assert b"Traceback" not in result.stderr, result.stderr.decode()
    return result


@pytest.fixture
def scans(tmp_path: Path, draw, encode) -> Path:
    """A folder of images that together are larger than the small disk."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number:02}.jpg").write_bytes(encode(draw(200 + number, 150), "JPEG", quality=95))
    return folder


READS = ["classify . --csv", "camera capture . -o -", "camera preview .", "kiosk .", "info", "doctor"]
WRITES = [
    "classify . --save .",
    "classify . --save new",
    "classify . --heatmap .",
    "classify --camera . --save .",
    "camera capture .",
    "kiosk . --save .",
]


@pytest.mark.parametrize("line", READS)
def test_a_read_only_file_system_is_enough(line: str, mounted: Run, scans: Path) -> None:
    result = mounted(f'{CLOSED.format(scans)} && cd "{scans}"', *line.split(), input=b"\nq\n")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout


@pytest.mark.parametrize("line", WRITES)
def test_saving_to_a_read_only_file_system_exits_with_6(line: str, mounted: Run, scans: Path) -> None:
    before = sorted(os.listdir(scans))
    result = mounted(f'{CLOSED.format(scans)} && cd "{scans}"', *line.split(), input=b"\nq\n")
    assert result.returncode == 6
    assert result.stderr.endswith(b": Read-only file system\n")
    assert result.stderr.count(b"\n") == 1
    assert sorted(os.listdir(scans)) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["classify", "scans", "--save", "kept"],
        ["classify", "scans", "--heatmap", "kept"],
        ["kiosk", "scans", "--save", "kept"],
    ],
    ids=" ".join,
)
def test_a_full_disk_keeps_only_complete_files(arguments: list[str], mounted: Run, scans: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    listed = tmp_path / "listed"  # the small disk disappears with its process
    mount = f'{SMALL.format("kept")} && mkdir "{listed}" && trap "cp -a kept/. listed/" EXIT && "$@"; exit'
    result = mounted(mount, *arguments, cwd=tmp_path, input=b"\n" * 20)
    assert result.returncode == 6
    assert result.stderr.endswith(b": cannot be written: No space left on device\n")
    assert result.stderr.count(b"\n") == 1
    kept = {path.name for path in listed.iterdir()}
    assert kept
    assert not [name for name in kept if name.startswith(".")]
    for name in kept:
        if name.endswith(".json"):
            json.loads((listed / name).read_text())
            assert name.replace(".json", ".jpg") in kept
        else:
            with Image.open(listed / name) as image:
                image.load()


def test_a_full_disk_for_a_captured_image(mounted: Run, scans: Path, tmp_path: Path) -> None:
    fill = f"mkdir kept && {SMALL.format('kept')} && cd kept && ! cat ../scans/* >full 2>&-"
    result = mounted(f'{fill} && "$@"; code=$?; ls -A >&2; exit $code', "camera", "capture", scans, cwd=tmp_path)
    assert result.returncode == 6
    first, *left = result.stderr.decode().splitlines()
    assert first.endswith("cannot be written: No space left on device")
    assert left == ["full"]


@pytest.mark.parametrize("temporary", [None, "/gone"])
def test_no_folder_for_temporary_files(temporary: str | None, mounted: Run, scans: Path) -> None:
    folders = [folder for folder in ("/tmp", "/var/tmp", "/usr/tmp", "/dev/shm", str(scans)) if os.path.isdir(folder)]
    closed = " && ".join(CLOSED.format(folder) for folder in folders)
    probe = f'"{sys.executable}" -c "import tempfile; tempfile.gettempdir()" 2>&-'
    closed += f' && cd "{scans}" && ! {probe}'
    env = {"TMPDIR": temporary}
    assert mounted(closed, "classify", ".", "--csv", env=env).stdout.count(b"\n") == 21
    assert mounted(closed, "kiosk", ".", env=env, input=b"\nq\n").stdout.count(b"Picture taken") == 1
    found = json.loads(mounted(closed, "doctor", "--json", env=env).stdout)
    assert found["self_test"]["passed"] is True


@pytest.mark.parametrize("home", [None, "/gone", ""])
@pytest.mark.parametrize("user", ["own", "none"])
def test_no_home_and_no_user(home: str | None, user: str, scans: Path) -> None:
    before = [] if user == "own" else NOBODY
    if before and not works(*NOBODY, "true"):
        pytest.skip("NOT RUN: this system permits no process of a user without a name")
    env: dict[str, Any] = {"env": {"HOME": home, "USER": None, "LOGNAME": None}, "before": before}
    classified = command("classify", scans, "--json", "--save", scans / "kept", **env)
    assert (classified.returncode, classified.stderr, len(classified.stdout.splitlines())) == (0, b"", 20)
    assert len(os.listdir(scans / "kept")) == 40
    assert command("info", **env).returncode == 0
    assert command("kiosk", scans, input=b"\nq\n", **env).stdout.count(b"Picture taken") == 1
    found = command("doctor", "--json", **env)
    assert (found.returncode, found.stderr) == (0, b"")
    assert json.loads(found.stdout)["self_test"]["passed"] is True


@pytest.mark.parametrize(
    ("now", "name"),
    [(0.0, "19700101-000000"), (5.25, "19700101-000005"), (-1.0, "19691231-235959"), (2.0**32, "21060207-062816")],
)
def test_a_wrong_clock(now: float, name: str, start, scans: Path, tmp_path: Path) -> None:
    def run(*arguments: object) -> bytes:
        running = start(
            *arguments, before=CLOCK.format(now), cwd=tmp_path, stdin=subprocess.PIPE, env=os.environ | {"TZ": "UTC"}
        )
        stdout, stderr = running.communicate(b"\n\nq\n", timeout=60)
        assert (running.returncode, stderr) == (0, b"")
        return stdout

    for _ in range(2):
        record = json.loads(run("classify", "--camera", "scans", "--json", "--save", "kept"))
        assert record["source"]["captured_at"] == now
    assert run("kiosk", "scans", "--save", "kept").count(b"Picture taken at " + name[9:11].encode()) == 2
    stems = [f"camera-{name}", *(f"camera-{name}-{number}" for number in (2, 3, 4))]
    assert sorted(os.listdir(tmp_path / "kept")) == sorted(stem + end for stem in stems for end in (".jpg", ".json"))
    run("doctor")


def test_captures_of_one_second_do_not_overwrite_one_another(start, scans: Path, tmp_path: Path) -> None:
    """A device without a battery for its clock starts at the same time whenever it boots."""
    for number in range(3):
        assert (
            start("camera", "capture", scans / f"{number:02}.jpg", before=CLOCK.format(0), cwd=tmp_path).wait(60) == 0
        )
    names = ["capture-19700101-000000.jpg", "capture-19700101-000000-2.jpg", "capture-19700101-000000-3.jpg"]
    for number, name in enumerate(names):
        assert (tmp_path / name).read_bytes() == (scans / f"{number:02}.jpg").read_bytes()


LOCALES: dict[str, dict[str, str]] = {
    "unknown": {"LC_ALL": "xx_YY.UTF-8"},
    "C": {"LC_ALL": "C"},
    "C to the letter": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "latin-1": {"LC_ALL": "en_US.ISO-8859-1", "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "strict ascii": {"PYTHONIOENCODING": "ascii:strict", "LC_ALL": "POSIX"},
}


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="its file system does not take such names")
@pytest.mark.parametrize("env", LOCALES.values(), ids=LOCALES.keys())
def test_a_wrong_locale(env: dict[str, str], scans: Path, tmp_path: Path, lesion: bytes) -> None:
    folder = os.path.join(os.fsencode(tmp_path), "läsionen 皮".encode())
    os.mkdir(folder)
    names = [b"\xff\xfe.png", "läsion 皮.png".encode(), b"mole.png"]
    for name in names:
        Path(os.fsdecode(os.path.join(folder, name))).write_bytes(lesion)
    printed = command("classify", os.fsdecode(folder), "--json", env=env)
    assert (printed.returncode, printed.stderr) == (0, b"")
    assert len(printed.stdout.splitlines()) == 3
    kept = command("classify", os.fsdecode(folder), "--save", os.fsdecode(folder + b"/kept"), env=env)
    assert (kept.returncode, kept.stderr) == (0, b"")
    assert b"mole.png" in kept.stdout
    records = sorted(os.listdir(folder + b"/kept"))
    assert len(records) == 6
    assert {b"mole.jpg", b"mole.json"} < set(records)
    gone = command("classify", os.fsdecode(folder + b"/\xfe.bmp"), env=env)
    assert gone.returncode == 3
    assert gone.stderr.endswith(b"fe.bmp: no such file\n")
    assert command("camera", "capture", scans, "-o", os.fsdecode(folder + b"/\xff.jpg"), env=env).returncode == 0
    assert os.path.getsize(folder + b"/\xff.jpg")
    assert command("kiosk", os.fsdecode(folder), env=env, input=b"\nq\n").stdout.count(b"Picture taken") == 1
    assert command("doctor", env=env).returncode == 0
