"""The statistics of flips: overlap of models, concentration on subgroups, corrected p-values."""

from __future__ import annotations

import numpy as np
import pytest

from spot_bench.drift.flips import EDGES, concentration, exemplars, holm, overlap, ratios_to_rest, strata


def test_overlap_has_an_interval() -> None:
    flips = np.zeros((200, 2), bool)
    flips[:30, 0] = flips[10:40, 1] = True
    (pair,) = overlap(flips, np.ones(200), np.arange(200), draws=500)["pairs"]
    found = pair["jaccard"]
    assert found["value"] == 0.5
    assert 0.3 < found["low"] < 0.42
    assert 0.58 < found["high"] < 0.7
    nothing = overlap(np.zeros((20, 2), bool), np.ones(20), np.arange(20), draws=20)
    assert nothing["pairs"][0]["jaccard"]["value"] is None
    assert nothing["exemplars"]["count"] == 0


def test_half_of_the_models_make_an_exemplar() -> None:
    flips = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]], bool)
    assert exemplars(flips).tolist() == [True, False, True]
    assert exemplars(flips[:, :3]).tolist() == [True, False, True]
    assert exemplars(flips[:, :1]).tolist() == [False] * 3
    assert strata(np.array([0.0, EDGES[0], 0.99])).tolist() == [0, 1, len(EDGES)]


def test_a_concentration_is_found() -> None:
    """A third of the men's lesions are flipped, and a ninth of the women's, whatever the margin."""
    random = np.random.default_rng(1)
    lesions = np.arange(1200)
    men = lesions < 600
    flips = (random.random(1200) < np.where(men, 1 / 3, 1 / 9)).astype(float)
    columns = {
        "sex": (["male", "female"], np.where(men, "male", "female")),
        "site": (["back", "arm", "toe"], np.array(["back", "arm"] * 590 + ["toe"] * 20)),
    }
    found = concentration(flips, columns, random.integers(0, 4, 1200), lesions, draws=300)
    male, female, back, arm, toe = found["subgroups"]
    assert found["tested"] == 4  # too few toes
    for key in ("ratio", "ratio_same_margin"):
        assert male[key]["low"] < 3 < male[key]["high"]
        assert male[key]["low"] > 2
        assert female[key]["value"] == pytest.approx(1 / male[key]["value"])
    assert male["p_holm"] < 0.01
    assert male["p_same_margin_holm"] < 0.01
    assert back["ratio"]["low"] < 1 < back["ratio"]["high"]
    assert min(back["p_holm"], arm["p_holm"]) > 0.05
    assert toe["rate"] is None
    assert (toe["lesions"], toe["flips"]) == (20, flips[-20:].sum())
    assert "p" not in toe


def test_holding_the_margin_fixed_removes_what_it_explains() -> None:
    """The old have more near ties, half of which flip for everyone."""
    random = np.random.default_rng(2)
    old = np.arange(2000) < 1000
    near = random.random(2000) < np.where(old, 0.6, 0.2)
    flips = (near & (random.random(2000) < 0.5)).astype(float)
    columns = {"age": (["old", "young"], np.where(old, "old", "young"))}
    row, _ = concentration(flips, columns, near.astype(int), np.arange(2000), draws=300)["subgroups"]
    assert row["ratio"]["low"] > 2
    assert row["p"] < 0.001
    assert row["ratio_same_margin"]["low"] < 1 < row["ratio_same_margin"]["high"]
    assert row["p_same_margin"] > 0.05


def test_p_values_are_uniform_without_an_effect() -> None:
    """Of 60 data sets without any concentration, one in twenty has p below .05; images of a lesion flip together."""
    low = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        lesions = np.repeat(np.arange(150), 2)
        flips = np.repeat(random.random(150) < 0.2, 2).astype(float)
        columns = {"sex": (["m", "f"], np.repeat(random.choice(["m", "f"], 150), 2))}
        row, _ = concentration(flips, columns, np.zeros(300, int), lesions, draws=50)["subgroups"]
        low += row["p"] < 0.05
    assert low <= 8  # more has a chance of one in 100


@pytest.mark.nightly
def test_intervals_cover_the_truth_and_p_values_are_right() -> None:
    """A seventh of the lesions has twice the near ties, which flip equally often; a lesion's images flip together."""
    data_sets, ratio = 250, (0.4 * 0.08 + 0.6 * 0.002) / (0.2 * 0.08 + 0.8 * 0.002)
    held = {"ratio": 0, "ratio_same_margin": 0}
    low = 0
    for seed in range(data_sets):
        random = np.random.default_rng(seed)
        few = np.arange(1000) < 150
        lesions = np.repeat(np.arange(1000), random.choice([1, 1, 2], 1000))
        near = (random.random(1000) < np.where(few, 0.4, 0.2))[lesions]
        chance = np.where(near, 0.08, 0.002) * random.gamma(2, 0.5, 1000)[lesions]
        flips = (random.random(len(lesions)) < chance).astype(float)
        columns = {"site": (["few"], np.where(few[lesions], "few", "most"))}
        (row,) = concentration(flips, columns, near.astype(int), lesions, draws=400)["subgroups"]
        for key, true in (("ratio", ratio), ("ratio_same_margin", 1.0)):
            high = np.inf if row[key]["high"] is None else row[key]["high"]
            held[key] += row[key]["low"] <= true <= high
        low += row["p_same_margin"] < 0.05
    print(f"of {data_sets} data sets: intervals held {held}, p below .05 where the margin explains all {low}")
    assert min(held.values()) >= 0.91 * data_sets
    assert low <= 0.09 * data_sets


def test_mantel_haenszel_by_hand() -> None:
    """2 of 4 against 1 of 4, and 3 of 6 against 1 of 6: (2*4/8 + 3*6/12) / (1*4/8 + 1*6/12)."""
    flips = np.array([1, 1, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0], float)
    inside = np.array([1] * 4 + [0] * 4 + [1] * 6 + [0] * 6, bool)
    stratum = np.array([0] * 8 + [1] * 12)
    members, alike, anywhere = inside[:, None], stratum[:, None] == [0, 1], np.ones((20, 1), bool)
    assert ratios_to_rest(flips, members, alike) == pytest.approx([2.5])
    assert ratios_to_rest(flips, members, anywhere) == pytest.approx([5 / 10 / (2 / 10)])
    assert np.isnan(ratios_to_rest(np.zeros(20), members, alike)).all()


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
