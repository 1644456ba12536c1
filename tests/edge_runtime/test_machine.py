"""The machine and its sensors: made-up Raspberry Pis, a PC, and a machine without information."""

from __future__ import annotations

import platform
import random
from pathlib import Path

import pytest

from spot_edge.machine import Machine, Reading, Sensors, available_memory, read_machine

CORES = "sys/devices/system/cpu"
FLAGS = "sys/devices/platform/soc/soc:firmware/get_throttled"


@pytest.mark.parametrize(
    ("name", "model", "processor", "mhz", "memory"),
    [
        ("pi3", "Raspberry Pi 3 Model B Plus Rev 1.3", "Cortex-A53", 1400, 966926336),
        ("pi4", "Raspberry Pi 4 Model B Rev 1.5", "Cortex-A72", 1800, 3977601024),
        ("pi5", "Raspberry Pi 5 Model B Rev 1.0", "Cortex-A76", 2400, 8452096000),
    ],
)
def test_a_raspberry_pi(name: str, model: str, processor: str, mhz: float, memory: int, board) -> None:
    root = board(name)
    found = read_machine(root)
    assert (found.board, found.processor, found.max_mhz, found.memory) == (model, processor, mhz, memory)
    assert (found.system, found.clock_driver) == ("Debian GNU/Linux 12 (bookworm)", "cpufreq-dt")
    assert found.architecture == platform.machine()
    assert available_memory(root) == memory // 2
    assert Sensors(root, None).read() == Reading(48.312, 600.003, "ondemand", None, None)
    assert Sensors(root, None).zones() == {"cpu-thermal": 48.312}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sys/firmware/devicetree/base/model", "Raspberry Pi Zero 2 W Rev 1.0\0"),
        ("proc/cpuinfo", "processor : 0\n\nModel\t\t: Raspberry Pi Zero 2 W Rev 1.0"),
    ],
)
def test_other_files_may_name_the_board(name: str, content: str, plant) -> None:
    assert read_machine(plant({name: content})).board == "Raspberry Pi Zero 2 W Rev 1.0"


def test_a_personal_computer_has_no_board(plant) -> None:
    cpuinfo = "processor : 0\nmodel\t\t: 85\nmodel name\t: Some CPU @ 2.50GHz\n\nmodel name : other"
    found = read_machine(plant({"proc/cpuinfo": cpuinfo}))
    assert (found.board, found.processor) == (None, "Some CPU @ 2.50GHz")


def test_a_machine_without_information(tmp_path: Path) -> None:
    found = read_machine(tmp_path / "none")
    assert (found.board, found.processor, found.memory, found.max_mhz, found.system) == (None,) * 5
    assert found.cores
    assert available_memory(tmp_path) is None
    assert Sensors(tmp_path, str(tmp_path / "missing")).read() == Reading()
    assert Sensors(tmp_path, None).zones() == {}


def test_files_full_of_noise_are_read_without_an_error(board, tmp_path: Path) -> None:
    noise = random.Random(7)
    root = board("pi4", {FLAGS: 0})
    files = [path for path in root.rglob("*") if path.is_file()]
    for _ in range(20):
        for path in files:
            path.write_bytes(noise.choice([b"", b"\0", b"-", b"nan", b"1e999", b": :", b"=\n=", noise.randbytes(99)]))
        found = read_machine(root)
        assert found.memory is None
        Sensors(root, None).read()
        Sensors(root, None).zones()


def test_folders_where_files_should_be(tmp_path: Path) -> None:
    for name in ("proc/cpuinfo", "proc/meminfo", "etc/os-release", "sys/class/thermal/thermal_zone0/temp", FLAGS):
        (tmp_path / name).mkdir(parents=True)
    assert read_machine(tmp_path).memory is None
    assert Sensors(tmp_path, None).read() == Reading()


@pytest.mark.parametrize(
    ("bits", "architecture", "narrow"),
    [(32, "aarch64", True), (32, "armv8l", True), (32, "armv7l", False), (64, "aarch64", False), (32, None, False)],
)
def test_a_32_bit_program_on_a_64_bit_kernel(bits: int, architecture: str | None, narrow: bool) -> None:
    assert Machine(bits=bits, architecture=architecture).narrow is narrow


def test_the_hottest_zone_and_the_fastest_core_count(plant) -> None:
    root = plant(
        {
            f"{CORES}/cpu0/cpufreq/scaling_cur_freq": 1500000,
            f"{CORES}/cpu1/cpufreq/scaling_cur_freq": 2400000,
            f"{CORES}/cpu1/thermal_throttle/core_throttle_count": 3,
            "sys/class/thermal/thermal_zone0/temp": 48312,
            "sys/class/thermal/thermal_zone1/temp": "not a number",
            "sys/class/thermal/thermal_zone2/temp": 51000,
            "sys/class/thermal/thermal_zone2/type": "board",
            "sys/class/thermal/thermal_zone3/temp": 50000,
            "sys/class/thermal/thermal_zone3/type": "board",
        }
    )
    assert Sensors(root, None).read() == Reading(51.0, 2400.0, None, None, 3)
    assert Sensors(root, None).zones() == {"thermal_zone0": 48.312, "board": 51.0}


def test_the_firmware_of_a_raspberry_pi_is_read_first(board, firmware) -> None:
    found = Sensors(board("pi4", {FLAGS: "0"}), firmware("0x50005")).read()
    assert (found.temperature_c, found.flags) == (61.7, 0x50005)
    assert found.signs() == ["under-voltage", "throttled"]
    assert found.signs(since_boot=True) == ["under-voltage", "throttled"]


@pytest.mark.parametrize("flags", ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"])
def test_the_kernel_s_file_is_read_if_the_firmware_fails(flags: str, board, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho VCHI initialization failed; exit 255\n")
    broken.chmod(0o755)
    root = board("pi5")
    assert Sensors(root, str(broken)).read().flags is None
    (root / "sys/devices/platform" / flags).mkdir(parents=True)
    (root / "sys/devices/platform" / flags / "get_throttled").write_text("e0000\n")
    found = Sensors(root, str(broken)).read()
    assert found.signs() == []
    assert found.signs(since_boot=True) == ["clock capped", "throttled", "soft temperature limit"]


def test_without_flags_the_signs_are_unknown() -> None:
    assert Reading().signs() is None
