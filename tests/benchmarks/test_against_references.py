"""Statistics against those of other packages on fixed data; `references.py` computes the reference values."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from spot_bench.stats import metrics
from spot_bench.stats.intervals import wilson

_REFERENCES = runpy.run_path(str(Path(__file__).with_name("references.py")))
TRUTH, SCORES, OTHER = _REFERENCES["fixed_data"]()

# scikit-learn 1.9.1
ACCURACY = 0.6633333333333333
BALANCED_ACCURACY = 0.6644861371974048
RECALLS = [0.6621621621621622, 0.6346153846153846, 0.7183098591549296, 0.6428571428571429]
MACRO_AUC = 0.887873585573015
MALIGNANT_AUC = 0.8820077864293658
LOG_LOSS = 0.8058427273070496
BRIER = 0.4447844991309512
# uncertainty-calibration 0.1.4
ECE = 0.06122358172815244
ECE_OF_EQUAL_WIDTH = 0.02463128816264166
# scipy 1.17.1
KL = 0.0031698027296912707
# statsmodels 0.15.0, and scipy the same
WILSON = [
    (0.0, 0.059243867898112854),
    (0.002899730799299831, 0.08718860044641588),
    (0.44895230444946554, 0.6898477806147473),
    (0.9407561321018871, 1.0),
    (0.923612893752704, 0.9483084917244091),
]


def near(value: object) -> object:
    return pytest.approx(value, rel=1e-12, abs=1e-15)


def test_against_scikit_learn() -> None:
    assert metrics.accuracy(TRUTH, SCORES) == near(ACCURACY)
    assert metrics.balanced_accuracy(TRUTH, SCORES) == near(BALANCED_ACCURACY)
    assert metrics.recalls(TRUTH, SCORES).tolist() == near(RECALLS)
    assert metrics.macro_auc(TRUTH, SCORES) == near(MACRO_AUC)
    assert metrics.log_loss(TRUTH, SCORES) == near(LOG_LOSS)
    assert metrics.brier(TRUTH, SCORES) == near(BRIER)


def test_auc_with_ties_against_scikit_learn() -> None:
    malignant = _REFERENCES["MALIGNANT"]
    score = metrics.malignant_score(SCORES, malignant).round(2)
    assert metrics.auc(malignant[TRUTH], score) == near(MALIGNANT_AUC)


def test_ece_against_uncertainty_calibration() -> None:
    assert metrics.ece(TRUTH, SCORES) == near(ECE)
    assert abs(ECE - ECE_OF_EQUAL_WIDTH) > 0.03  # the two kinds of bins are not to be mixed up


def test_kl_against_scipy() -> None:
    assert metrics.kl(SCORES, OTHER) == near(KL)


@pytest.mark.parametrize(("counts", "expected"), list(zip(_REFERENCES["COUNTS"], WILSON, strict=True)))
def test_wilson_against_statsmodels_and_scipy(counts: tuple[int, int], expected: tuple[float, float]) -> None:
    assert wilson(*counts) == near(expected)
