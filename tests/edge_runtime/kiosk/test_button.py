"""The trigger on a camera's handle: recorded kernel events, and devices that are plugged in and pulled.

Real keys: make check TARGET=camera-vm.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from spot_edge.camera import button
from spot_edge.camera.button import EVENT, Buttons, presses

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Linux's input devices")

WIDE = struct.Struct("<qqHHi")
NARROW = struct.Struct("<iiHHi")
# One press of KEY_CAMERA as Linux 6.1 on arm64 wrote it to a 64-bit and to a 32-bit program (make check
# TARGET=camera-vm): down, the end of that report, up, the end of that report.
WIDE_PRESS = bytes.fromhex(
    "cf10026b00000000f93a0d00000000000100d40001000000cf10026b00000000f93a0d00000000000000000000000000"
    "cf10026b0000000055040e00000000000100d40000000000cf10026b0000000055040e00000000000000000000000000"
)
NARROW_PRESS = bytes.fromhex(
    "cf10026bf93a0d000100d40001000000cf10026bf93a0d000000000000000000"
    "cf10026b55040e000100d40000000000cf10026b55040e000000000000000000"
)


def events(layout: struct.Struct, *found: tuple[int, int, int]) -> bytes:
    return b"".join(layout.pack(1_764_000_000, 123_456, *event) for event in found)


@pytest.mark.parametrize(("data", "layout"), [(WIDE_PRESS, WIDE), (NARROW_PRESS, NARROW)], ids=["64-bit", "32-bit"])
def test_recorded_events_are_one_press(data: bytes, layout: struct.Struct) -> None:
    assert presses(data, layout) == 1
    assert presses(data[: layout.size], layout) == 1
    assert presses(data[layout.size :], layout) == 0


@pytest.mark.parametrize("layout", [WIDE, NARROW], ids=["64-bit", "32-bit"])
def test_only_the_trigger_going_down_counts(layout: struct.Struct) -> None:
    down, sync, up, held = (1, 0xD4, 1), (0, 0, 0), (1, 0xD4, 0), (1, 0xD4, 2)
    half_way, enter, moved = (1, 0x210, 1), (1, 28, 1), (2, 0xD4, 1)
    assert presses(events(layout, down, sync, up, sync), layout) == 1
    assert presses(events(layout, down, held, held, up, down, sync, up), layout) == 2
    assert presses(events(layout, half_way, enter, moved, held, up), layout) == 0
    assert presses(events(layout, down)[:-1], layout) == 0
    assert presses(b"", layout) == 0


def test_the_event_layout_is_that_of_this_kernel() -> None:
    assert EVENT.size == {8: WIDE.size, 4: NARROW.size}[struct.calcsize("l")]


def test_without_input_devices_there_is_no_trigger(tmp_path: Path) -> None:
    with Buttons(str(tmp_path / "none")) as buttons:
        assert (buttons.find(), buttons.pressed(), buttons.closed) == ([], False, ())


def test_devices_without_the_key_are_closed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "event0")
    (tmp_path / "event1").write_bytes(events(EVENT, (1, 0xD4, 1)))
    (tmp_path / "mouse0").touch()
    with Buttons(str(tmp_path)) as buttons:
        assert buttons.find() == []
        assert not buttons.pressed()


@pytest.fixture
def pipes_as_triggers(monkeypatch) -> None:
    """Use pipes as triggers, and search for devices at every call."""
    monkeypatch.setattr(button, "_has_trigger", lambda handle: True)
    monkeypatch.setattr(button, "_SCAN_EVERY", 0.0)


def test_a_press_is_seen_once_and_a_trigger_may_come_and_go(pipes_as_triggers, tmp_path: Path) -> None:
    with Buttons(str(tmp_path)) as buttons:
        assert buttons.find() == []
        os.mkfifo(tmp_path / "event3")
        (handle,) = buttons.find()
        assert buttons.find() == [handle]
        plugged = os.open(tmp_path / "event3", os.O_WRONLY)
        os.write(plugged, events(EVENT, (1, 0xD4, 1), (1, 0xD4, 0), (1, 0xD4, 1)))
        assert buttons.pressed()
        assert not buttons.pressed()
        os.close(plugged)
        (tmp_path / "event3").rename(
            tmp_path / "gone"
        )  # keeps the inode in use, so that the next device gets another one
        assert not buttons.pressed()
        assert buttons.find() == []
        os.mkfifo(tmp_path / "event3")
        assert len(buttons.find()) == 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="NOT RUN: root may read everything")
def test_a_device_without_permission_is_named_and_read_once_permitted(pipes_as_triggers, tmp_path: Path) -> None:
    path = tmp_path / "event0"
    os.mkfifo(path, 0)
    with Buttons(str(tmp_path)) as buttons:
        assert (buttons.find(), buttons.closed) == ([], ())  # udev may be about to grant access
        assert (buttons.find(), buttons.closed) == ([], (str(path),))
        path.chmod(0o600)
        assert len(buttons.find()) == 1
        assert buttons.closed == ()
