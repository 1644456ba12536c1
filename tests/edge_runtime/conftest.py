"""Fixtures of the device package's tests: drawn images, the embedded model, and the command line in a subprocess."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spot_edge.classifier import Classifier
from spot_edge.model.file import ModelFile, read_model

# Runs first in a process that receives signals: the caller of pytest may ignore them, as nohup does.
DEFAULT_SIGNALS = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""


def _draw(width: int, height: int) -> np.ndarray:
    """Draw a brown spot with a net on cloudy skin, by integer formulas alone: the same bytes on every machine.

    The image passes the embedded model's quality check from a width of 64 pixels.
    """
    y, x = np.mgrid[0:height, 0:width]
    u, v = x * 1200 // width, y * 900 // height  # the same spot at any size
    cloud = (
        _arches(3 * u + 2 * v + 150, 1700) + _arches(5 * v - 2 * u + 900, 2300) + _arches(u + 4 * v, 900) // 2
    ) // 5
    net = (_arches(u + v // 2, 70) + _arches(v - u // 3, 80)) // 16
    a, b = (x, y) if width < 400 else (u // 3, v // 3)
    grain = (7 * a * a + 13 * b * b + 5 * a * b + 3 * a) % 19 * (2 + 70 // width) // 2
    skin = np.stack([196 + cloud // 4, 148 + cloud // 3, 130 + cloud // 3], axis=2)
    spot = np.stack([112 + net + cloud // 3, 70 + net + cloud // 4, 56 + net + cloud // 5], axis=2)
    distance = (9 * (u - 600) ** 2 + 14 * (v - 450) ** 2) // 900 + 6 * cloud
    inside = np.clip(1500 - distance, 0, 400)[:, :, None]
    return ((skin * (400 - inside) + spot * inside) // 400 + grain[:, :, None]).astype(np.uint8)


def _arches(values: np.ndarray, period: int) -> np.ndarray:
    """Rise from 0 to 255 and fall again, once in every `period`."""
    place = values % period * 1024 // period - 512
    return 255 - (place * place * 255 >> 18)


def _encode(picture: np.ndarray | Image.Image, form: str = "PNG", **options: Any) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    encoded = io.BytesIO()
    image.save(encoded, form, **options)
    return encoded.getvalue()


@pytest.fixture(scope="session")
def draw() -> Callable[[int, int], np.ndarray]:
    """draw(width, height): an image as an RGB array."""
    return _draw


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """encode(image, form, **options): the bytes of an image file."""
    return _encode


@pytest.fixture(scope="session")
def lesion() -> bytes:
    """The bytes of a lossless image that passes the quality check."""
    return _encode(_draw(120, 90))


@pytest.fixture
def picture(tmp_path: Path, lesion: bytes) -> Path:
    """A file with the bytes of `lesion`."""
    path = tmp_path / "lesion.png"
    path.write_bytes(lesion)
    return path


@pytest.fixture
def many(tmp_path: Path, lesion: bytes) -> list[Path]:
    """So many files that the command is still busy when the test interrupts it."""
    paths = [tmp_path / f"{number:03}.png" for number in range(300)]
    for path in paths:
        path.write_bytes(lesion)
    return paths


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """start(*arguments, before, stdout, stderr, ...): the command line in a process that runs beside the test.

    The process first runs the lines of Python in `before`. It does not ignore the signals that the caller of pytest
    ignores, as nohup does.
    """
    with ExitStack() as started:

        def begin(*arguments: object, before: str = "", **options: Any) -> subprocess.Popen[bytes]:
            # -P: like the installed command, do not look for modules in the current folder.
            script = ["-P", "-c", f"{DEFAULT_SIGNALS}\n{before}\nfrom spot_edge.cli import main\nmain()"]
            # Unbuffered: `communicate` would miss what our own buffer already holds.
            streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0} | options
            running = started.enter_context(
                subprocess.Popen([sys.executable, *script, *map(str, arguments)], **streams)
            )
            started.callback(running.kill)
            return running

        yield begin


@pytest.fixture(scope="session")
def second_signal() -> str:
    """Lines of Python that send a SIGTERM while the program handles an earlier, lost one."""
    return """
import os, signal, sys
def second(frame, event, argument):
    if event == "call" and frame.f_code is getattr(sys.unraisablehook, "__code__", None):
        sys.setprofile(None)
        os.kill(os.getpid(), signal.SIGTERM)
sys.setprofile(second)
"""


@pytest.fixture(scope="session")
def model() -> ModelFile:
    """The embedded model."""
    return read_model()


@pytest.fixture(scope="session")
def flatbuffer(model: ModelFile) -> bytes:
    """The part of the embedded model in front of its zip."""
    with zipfile.ZipFile(io.BytesIO(model.content)) as bundle:
        return model.content[: min(info.header_offset for info in bundle.infolist())]


@pytest.fixture(scope="session")
def classifier(model: ModelFile) -> Classifier:
    """The embedded model in the first installed runtime."""
    return Classifier(model)


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """python(*arguments): run this interpreter in a subprocess, in a UTF-8 locale."""

    def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
        environment = os.environ | {"PYTHONUTF8": "1"} | options.pop("env", {})
        command = [sys.executable, *arguments]
        return subprocess.run(command, capture_output=True, timeout=120, env=environment, check=False, **options)

    return run


def _forked(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a fork of this process, which has already imported everything."""
    from spot_edge.cli import main

    with ExitStack() as files:
        streams = [files.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        streams[0].write(options.get("input", b""))
        streams[0].seek(0)
        child = os.fork()
        if not child:
            try:
                for number, stream in enumerate(streams):
                    os.dup2(stream.fileno(), number)
                sys.stdin, sys.stdout, sys.stderr = (open(n, m, encoding="utf-8") for n, m in enumerate("rww"))  # noqa: SIM115
                sys.stderr.reconfigure(errors="backslashreplace", line_buffering=True)
                os.chdir(options.get("cwd", "."))
                main([os.fsdecode(a) if isinstance(a, bytes | os.PathLike) else str(a) for a in arguments])
            except SystemExit as exit_:
                sys.stdout.flush()
                os._exit(exit_.code if isinstance(exit_.code, int) else 1)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for stream in streams:
            stream.seek(0)
        return subprocess.CompletedProcess(arguments, code, streams[1].read(), streams[2].read())


@pytest.fixture(scope="session")
def spot_edge(python: Callable[..., Any]) -> Callable[..., Any]:
    """spot_edge(*arguments): run the command line in a subprocess; fail if it prints a traceback.

    With TESTS_FORK set (`make check TARGET=arm`: under an emulator every start of Python takes seconds) the subprocess
    is a fork of this one, unless the test sets its environment.
    """

    def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
        if os.environ.get("TESTS_FORK") and "env" not in options:
            result = _forked(*arguments, **options)
        else:
            result = python("-m", "spot_edge.cli", *arguments, **options)
        assert b"Traceback" not in result.stderr, result.stderr.decode()
        return result

    return run


_BOARDS: dict[str, dict[str, Any]] = {
    "pi3": {"model": "Raspberry Pi 3 Model B Plus Rev 1.3", "part": "0xd03", "mhz": 1400, "memory": 944264},
    "pi4": {"model": "Raspberry Pi 4 Model B Rev 1.5", "part": "0xd08", "mhz": 1800, "memory": 3884376},
    "pi5": {"model": "Raspberry Pi 5 Model B Rev 1.0", "part": "0xd0b", "mhz": 2400, "memory": 8254000},
}


@pytest.fixture
def plant(tmp_path: Path) -> Callable[[dict[str, object]], Path]:
    """plant(files): the root folder of a made-up machine with these files, each of one line."""

    def put(files: dict[str, object]) -> Path:
        for name, content in files.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")
        return tmp_path / "root"

    return put


@pytest.fixture
def board(plant: Callable[[dict[str, object]], Path]) -> Callable[..., Path]:
    """board(name, files): the root folder of a Raspberry Pi, with the files that its kernel provides."""

    def make(name: str, files: dict[str, object] | None = None) -> Path:
        pi = _BOARDS[name]
        core = f"CPU implementer\t: 0x41\nCPU part\t: {pi['part']}\n\n"
        clocks = "sys/devices/system/cpu/cpu{}/cpufreq"
        provided: dict[str, object] = {
            "proc/device-tree/model": f"{pi['model']}\0",
            "proc/cpuinfo": f"{4 * core}Serial\t\t: 10000000deadbeef\nModel\t\t: {pi['model']}",
            "proc/meminfo": f"MemTotal:  {pi['memory']} kB\nMemFree: 1 kB\nMemAvailable:  {pi['memory'] // 2} kB",
            "etc/os-release": 'NAME="Debian GNU/Linux"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian',
            "sys/class/thermal/thermal_zone0/temp": 48312,
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        }
        for number in range(4):
            clock = clocks.format(number)
            provided |= {
                f"{clock}/cpuinfo_max_freq": 1000 * pi["mhz"],
                f"{clock}/scaling_cur_freq": 600000 + number,
            }
            provided |= {f"{clock}/scaling_governor": "ondemand", f"{clock}/scaling_driver": "cpufreq-dt"}
        return plant(provided | (files or {}))

    return make


@pytest.fixture
def firmware(tmp_path: Path) -> Callable[..., str]:
    """firmware(flags, temperature): a program that replies like a Raspberry Pi's vcgencmd."""

    def make(flags: str, temperature: str = "61.7") -> str:
        script = tmp_path / "vcgencmd"
        replies = f"""measure_temp) echo "temp={temperature}'C";; get_throttled) echo throttled={flags};;"""
        script.write_text(f"#!/bin/sh\ncase $1 in {replies} esac\n")
        script.chmod(0o755)
        return str(script)

    return make
