"""Throttling, other work and energy, read from simulated system files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from spot_bench.speed import conditions
from spot_bench.speed.conditions import Watch, throttling
from spot_bench.speed.energy import find_meter
from spot_edge.machine import Reading, Sensors

CORES = "devices/system/cpu"


def put(root: Path, files: dict[str, object]) -> None:
    """Write files of one line below `root`."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(
        tmp_path / "sys",
        {
            f"{CORES}/cpu0/cpufreq/scaling_cur_freq": 1500000,
            f"{CORES}/cpu1/cpufreq/scaling_cur_freq": 2400000,
            "class/thermal/thermal_zone0/temp": 48312,
        },
    )
    return tmp_path


def test_a_machine_that_reports_nothing(tmp_path: Path) -> None:
    sensors = Sensors(tmp_path, vcgencmd=str(tmp_path / "missing"))
    watch = Watch(sensors)
    watch.start()
    watch.sample()
    found = watch.finish()
    assert (found["throttled"], found["other_work"], found["during"]["mhz"]) == (None, None, None)


COOL = Reading(50.0, 2400.0, "ondemand", 0, None)


@pytest.mark.parametrize(
    ("before", "later", "why"),
    [
        (COOL, [COOL, COOL], []),
        (COOL, [replace(COOL, flags=0x4), COOL], ["throttled"]),
        (COOL, [replace(COOL, flags=0x80000), COOL], ["soft temperature limit"]),
        (replace(COOL, flags=0x50000), [replace(COOL, flags=0x50000), replace(COOL, flags=0x50000)], []),  # long ago
        (COOL, [COOL, replace(COOL, flags=0x10001)], ["under-voltage"]),
        (COOL, [replace(COOL, mhz=2100.0), COOL], ["clock fell from 2400 to 2100 MHz"]),
        (COOL, [replace(COOL, mhz=2200.0), COOL], []),
        (COOL, [COOL, replace(COOL, mhz=600.0)], []),  # idle again
        (replace(COOL, events=7), [replace(COOL, events=8), COOL], ["cores throttled themselves"]),
    ],
)
def test_signs_of_throttling(before: Reading, later: list[Reading], why: list[str]) -> None:
    assert throttling(before, COOL, later) == why


def test_the_idle_clock_before_does_not_count() -> None:
    assert throttling(replace(COOL, mhz=600.0), COOL, [COOL, COOL]) == []
    assert throttling(replace(COOL, mhz=3000.0), COOL, [COOL, COOL]) == []


def test_a_falling_clock_is_noticed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "_EVERY", 0.0)
    watch = Watch(Sensors(root, vcgencmd=None))
    watch.start()
    put(root / "sys", {f"{CORES}/cpu1/cpufreq/scaling_cur_freq": 1000000})
    watch.sample()
    found = watch.finish()
    assert found["throttled"] is True
    assert found["why"] == ["clock fell from 2400 to 1500 MHz"]
    assert found["during"]["mhz"] == [1500.0, 2400.0]
    assert found["during"]["temperature_c"] == [48.312, 48.312]


def test_the_share_of_other_work(tmp_path: Path) -> None:
    put(tmp_path / "proc", {"stat": "cpu  1000 0 0 9000 0 0 0 0 0 0\ncpu0 1 2 3"})
    watch = Watch(Sensors(tmp_path, vcgencmd=None))
    watch.start()
    put(tmp_path / "proc", {"stat": "cpu  7000 0 1000 11000 900 0 0 100 0 0\ncpu0 1 2 3"})
    assert watch.finish()["other_work"] == pytest.approx(7100 / 10000, abs=0.01)


def test_energy_counters_wrap_to_zero(tmp_path: Path) -> None:
    zone = tmp_path / "class" / "powercap" / "intel-rapl:0"
    put(zone, {"name": "package-0", "energy_uj": 900_000, "max_energy_range_uj": 1_000_000})
    put(zone.with_name("intel-rapl:0:0"), {"name": "core", "energy_uj": 1, "max_energy_range_uj": 1_000_000})
    put(zone.with_name("intel-rapl:1"), {"name": "psys", "energy_uj": 1, "max_energy_range_uj": 1_000_000})
    meter = find_meter(tmp_path)
    assert meter is not None
    assert meter.name == "RAPL package-0"
    spent = meter.measure(lambda: put(zone, {"energy_uj": 100_000}), 0)
    assert spent is not None
    assert (spent.joules, spent.runs) == (pytest.approx(0.2), 1)
    assert spent.as_dict()["watts"] == pytest.approx(0.2 / spent.seconds)


def test_energy_of_a_sensor(tmp_path: Path) -> None:
    chips = tmp_path / "class" / "hwmon"
    put(chips / "hwmon0", {"name": "other", "power1_input": 9_000_000})
    put(chips / "hwmon1", {"name": "ina219", "in1_input": 5000, "curr1_input": 800})
    meter = find_meter(tmp_path)
    assert meter is not None
    assert meter.name == "ina219 in1 x curr1"
    spent = meter.measure(lambda: None, 0.5)
    assert spent is not None
    assert spent.runs > 1
    assert spent.as_dict()["watts"] == pytest.approx(4.0)
    put(chips / "hwmon1", {"power1_input": 3_500_000})
    again = find_meter(tmp_path)
    assert again is not None
    assert (again.name, again.watts and again.watts()) == ("ina219 power1_input", pytest.approx(3.5))


def test_a_meter_that_fails(tmp_path: Path) -> None:
    power = tmp_path / "class" / "hwmon" / "hwmon0"
    put(power, {"name": "ina226", "power1_input": 1})
    meter = find_meter(tmp_path)
    assert meter is not None
    (power / "power1_input").unlink()
    assert meter.measure(lambda: None, 0) is None


def test_a_machine_without_a_meter(tmp_path: Path) -> None:
    put(tmp_path / "class" / "powercap" / "intel-rapl:0", {"name": "package-0", "max_energy_range_uj": 1})
    assert find_meter(tmp_path) is None
