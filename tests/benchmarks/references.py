"""Compute reference values with other packages on fixed data, for `test_against_references.py`.

    python -m venv /tmp/references
    /tmp/references/bin/pip install scikit-learn==1.9.1 scipy==1.17.1 statsmodels==0.15.0 uncertainty-calibration==0.1.4
    /tmp/references/bin/python tests/benchmarks/references.py

ECE with bins of equally many images is rare: torchmetrics has only bins of equal width; uncertainty-calibration (the
package of Kumar, Liang and Ma, 2019) has both.
"""

from __future__ import annotations

import numpy as np

COUNTS = [(0, 61), (1, 61), (35, 61), (61, 61), (1400, 1494)]  # successes of trials
MALIGNANT = np.array([False, True, False, True])


def fixed_data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return 600 true classes of four, roughly calibrated scores, and slightly different scores.

    They are made of fractions of multiples of roots, so that they are the same in every version of numpy.
    """
    rows = np.arange(1, 601)[:, np.newaxis]
    logits = 6 * np.modf(rows * np.sqrt([2, 3, 5, 7]))[0]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    drawn = np.modf(rows * np.sqrt(11))[0]
    truth = (scores.cumsum(axis=1)[:, :-1] < drawn).sum(axis=1)
    shifted = logits + 0.4 * np.modf(rows * np.sqrt([13, 17, 19, 23]))[0]
    return truth, scores, np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)


def main() -> None:
    """Print what the other packages say."""
    import calibration
    from scipy import stats
    from sklearn import metrics
    from statsmodels.stats.proportion import proportion_confint

    truth, scores, other = fixed_data()
    first = scores.argmax(axis=1)
    malignant = scores[:, MALIGNANT].sum(axis=1).round(2)  # rounded: ties
    print("accuracy", metrics.accuracy_score(truth, first))
    print("balanced_accuracy", metrics.balanced_accuracy_score(truth, first))
    print("recalls", metrics.recall_score(truth, first, average=None).tolist())
    print("macro_auc", metrics.roc_auc_score(truth, scores, multi_class="ovr", average="macro"))
    print("malignant_auc", metrics.roc_auc_score(MALIGNANT[truth], malignant))
    print("log_loss", metrics.log_loss(truth, scores))
    print("brier", metrics.brier_score_loss(truth, scores, scale_by_half=False))
    print("ece", calibration.get_ece_em(scores, truth, num_bins=15, mode="top-label"))
    print("ece of equal width", calibration.get_ece(scores, truth, num_bins=15, mode="top-label"))
    print("kl", stats.entropy(scores, other, axis=1).mean())
    print("wilson", [tuple(map(float, proportion_confint(k, n, method="wilson"))) for k, n in COUNTS])
    same = [stats.binomtest(k, n).proportion_ci(method="wilson") for k, n in COUNTS]
    print("wilson by scipy", [(float(interval.low), float(interval.high)) for interval in same])


if __name__ == "__main__":
    main()
