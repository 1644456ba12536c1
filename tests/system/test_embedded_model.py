"""The embedded model has the figures of its model card on the test split. Skips without HAM10000."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from spot_bench.data.manifest import read_manifest
from spot_bench.data.predictions import predict
from spot_bench.stats import metrics
from spot_edge import Classifier

pytestmark = pytest.mark.long


def test_shared_split_equals_the_kept_one(ham10000: Path, repository: Path) -> None:
    kept = repository / "models" / "spot" / "split.csv"
    assert hashlib.sha256(ham10000.read_bytes()).digest() == hashlib.sha256(kept.read_bytes()).digest()


def test_no_lesion_is_in_two_splits(ham10000: Path) -> None:
    manifest = read_manifest(ham10000)
    lesions = [{item.group for item in manifest.split(name).items} for name in manifest.splits]
    assert len(lesions) == 4
    assert sum(map(len, lesions)) == len(set().union(*lesions)) == 7470


def test_reported_figures_are_reproduced(ham10000: Path, repository: Path) -> None:
    report = json.loads((repository / "models" / "spot" / "test-report.json").read_text())
    reported = report["comparisons"][0]["other"]
    found = predict(Classifier.load(), read_manifest(ham10000).split("test"))
    assert len(found.truth) == reported["accuracy"]["n"] == 1998
    # Other processors may round an activation the other way: a few images of 1,998 may differ.
    assert metrics.balanced_accuracy(found.truth, found.scores) == pytest.approx(
        reported["balanced_accuracy"]["value"], abs=0.01
    )
    assert metrics.macro_auc(found.truth, found.scores) == pytest.approx(reported["macro_auc"]["value"], abs=0.003)
