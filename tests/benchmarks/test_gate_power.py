"""The simulation of the drift gate at small size: error and power agree with exact calculation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from experiments.gate_power.__main__ import main
from experiments.gate_power.power import lesions_for_power, without_loss
from experiments.gate_power.simulation import balanced_verdict, flips_verdict, recall_verdict, simulate

FILES = 1500
ERROR = 0.05 + 3 * (0.05 * 0.95 / FILES) ** 0.5  # three standard deviations of the simulation


@pytest.mark.parametrize("lesions", [100, 250, 1000])
@pytest.mark.parametrize("gain", [0.0, 0.01, 0.05])
def test_at_the_margin_few_files_pass_or_fail(lesions: int, gain: float) -> None:
    (found,) = simulate(recall_verdict(lesions, 0.015, gain), FILES)
    assert found["pass"] <= ERROR
    assert found["fail"] <= ERROR
    assert sum(found.values()) == pytest.approx(1)


@pytest.mark.parametrize("where", ["every class", "the rarest"])
def test_at_the_margin_few_files_pass_by_balanced_accuracy(where: str) -> None:
    lesions = np.array([20, 60, 200])
    losses = np.full(3, 0.01) if where == "every class" else np.array([0.03, 0, 0])
    (found,) = simulate(balanced_verdict(lesions, losses, 0.0), 400)
    assert found["pass"] <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


def test_a_file_without_losses_passes_given_250_melanomas() -> None:
    assert simulate(recall_verdict(250, 0.0, 0.0), 10)[0]["pass"] == 1
    assert simulate(recall_verdict(100, 0.0, 0.0), 10)[0]["undecided"] == 1
    assert without_loss(0.015) == 199


def test_at_half_the_margin_of_flips_1000_lesions_are_enough_and_of_melanoma_not() -> None:
    assert simulate(flips_verdict(1000, 0.025), FILES)[0]["pass"] > 0.95
    (found,) = simulate(recall_verdict(1000, 0.0075, 0.0), FILES)
    assert found["pass"] == pytest.approx(0.662, abs=0.04)  # at most 8 of 1,000 lost, with a share of 0.75 %
    assert found["fail"] == 0
    assert simulate(recall_verdict(lesions_for_power(0.015, 0.0075), 0.0075, 0.0), FILES)[0]["pass"] > 0.76


def test_the_page_has_every_row(tmp_path: Path) -> None:
    out = tmp_path / "gate.md"
    assert CliRunner().invoke(main, ["--files", "20", "--out", str(out)], catch_exceptions=False).exit_code == 0
    rows = [line for line in out.read_text().splitlines() if line.startswith("| ")]
    assert len(rows) == 6 * 2 + 4 + 4 * 4 * 2 + 4 * 4 + 4 * 7 + 4 * 4 + 5
    assert "melanoma with 199 melanomas" in out.read_text()
