"""The exact McNemar test against statsmodels and against values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from spot_bench.stats.intervals import compare_correct, exact_mcnemar

# float(mcnemar([[7, lost], [gained, 9]], exact=True).pvalue) of statsmodels 0.15.0 (scipy 1.17.1); SciPy's
# binomtest(lost, lost + gained, 0.5).pvalue gives the same to the last digit.
REFERENCE = {
    (0, 1): 1.0,
    (0, 6): 0.03125,
    (5, 2): 0.453125,
    (2, 10): 0.03857421875,
    (12, 3): 0.03515625,
    (30, 50): 0.03299261842647619,
    (121, 59): 4.4344492637551645e-06,
    (500, 560): 0.06990955946026937,
    (3000, 3200): 0.011488253770871584,
}


@pytest.mark.parametrize(("lost", "gained"), REFERENCE)
def test_against_statsmodels(lost: int, gained: int) -> None:
    assert exact_mcnemar(lost, gained) == pytest.approx(REFERENCE[lost, gained], rel=1e-9)
    assert exact_mcnemar(gained, lost) == exact_mcnemar(lost, gained)


def test_equal_counts_give_one() -> None:
    assert exact_mcnemar(0, 0) == exact_mcnemar(7, 7) == 1.0


def test_lesions_count_once() -> None:
    before = np.array([1, 1, 1, 1, 0, 1, 0], bool)
    after = np.array([0, 0, 0, 1, 1, 0, 1], bool)
    groups = np.array(["a", "a", "a", "b", "c", "d", "d"])  # d: one image lost, one gained
    found = compare_correct(before, after, groups)
    assert found["images"] == {"lost": 4, "gained": 2, "p": exact_mcnemar(4, 2)}
    assert found["lesions"] == {"lost": 1, "gained": 1, "p": 1.0}


def test_no_images() -> None:
    nothing = np.zeros(0, bool)
    assert compare_correct(nothing, nothing, np.array([], str))["lesions"] == {"lost": 0, "gained": 0, "p": 1.0}


def test_lost_and_gained_are_not_mixed_up() -> None:
    before, after = np.array([1, 1, 1, 0], bool), np.array([0, 0, 0, 1], bool)
    found = compare_correct(before, after, np.array(["a", "b", "c", "d"]))
    assert found["images"] == found["lesions"] == {"lost": 3, "gained": 1, "p": exact_mcnemar(3, 1)}
