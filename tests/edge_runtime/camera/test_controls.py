"""Camera controls: set, locked and released."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest


def values(kernel: Any) -> dict[int, int]:
    return {number: control[-1] for number, control in kernel.controls.items()}


@pytest.fixture
def with_controls(jpeg, scripted, camera, controls) -> Callable[..., Any]:
    """with_controls(**options): the kernel of a camera that was opened with these options."""

    def make(**options: Any) -> Any:
        kernel = scripted(*[jpeg] * 11)
        kernel.controls = controls
        next(camera(kernel, **options))
        return kernel

    return make


def test_setting_a_control_turns_off_its_automatic_mode(with_controls) -> None:
    kernel = with_controls(controls={"exposure": 100, "focus": 30, "snapshot-button": None})
    assert values(kernel) | {0x009A0901: 1, 0x009A0902: 100, 0x009A090A: 30} == values(kernel)


def test_locking_keeps_the_values_and_unlocking_restores_automatic_mode(jpeg, camera, with_controls) -> None:
    kernel = with_controls(lock=True)
    assert values(kernel) | {0x009A0901: 1, 0x009A0902: 777, 0x0098090C: 0} == values(kernel)
    kernel.frames = [jpeg] * 9
    next(camera(kernel, lock=False))
    assert values(kernel) | {0x009A0901: 3, 0x0098090C: 1} == values(kernel)


def test_a_value_that_changes_on_locking_is_restored(jpeg, scripted, camera, controls, numbered) -> None:
    kernel = scripted(*[jpeg] * 10, numbered(1))
    kernel.controls, kernel.jumping = controls, {0x009A0901: (0x009A0902, 250)}
    assert next(camera(kernel, lock=True)) == numbered(1)
    assert values(kernel)[0x009A0902] == 777
    assert kernel.calls.count("S_CTRL") == 3  # both automatic modes, and exposure; white balance has no value here


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"controls": {"zoom": 3}}, "has no control 'zoom'. It offers white-balance-auto, gain"),
        ({"controls": {"focus": 256}}, "focus must be from 0 to 255, not 256"),
        ({"controls": {"focus": None}}, "focus needs a value"),
        ({"controls": {"snapshot-button": 1}}, "snapshot-button takes no value"),
    ],
)
def test_a_control_that_cannot_be_set_is_reported(
    options: dict[str, Any], message: str, scripted, refused, controls
) -> None:
    kernel = scripted()
    kernel.controls = controls
    assert message in str(refused(kernel, **options))


def test_a_driver_that_refuses_a_control_is_reported(jpeg, scripted, refused, controls) -> None:
    kernel = scripted(*[jpeg] * 9)
    kernel.controls = controls
    kernel.failing = {"S_CTRL": errno.EIO}
    assert "focus cannot be set to 9" in str(refused(kernel, controls={"focus": 9}))


def test_a_camera_without_automatic_modes_cannot_be_locked(jpeg, scripted, refused) -> None:
    assert "cannot lock focus" in str(refused(scripted(*[jpeg] * 9), lock=True))
