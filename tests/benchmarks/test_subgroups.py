"""Differences within subgroups of made-up predictions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spot_bench.data.manifest import Item, Manifest
from spot_bench.data.predictions import Predictions
from spot_bench.drift.subgroups import age_band, subgroups
from spot_bench.stats.calibration import softmax
from spot_edge.errors import DataError

IMAGES = 400  # two of each lesion, a fifth of them melanomas
FOLDER = Path("/data")


def outputs(logits: np.ndarray) -> dict[str, Any]:
    return {"logits": logits.astype(np.float32), "scores": softmax(logits).astype(np.float32)}


@pytest.fixture(scope="module")
def baseline() -> Predictions:
    random = np.random.default_rng(5)
    truth = np.repeat(np.arange(IMAGES // 2) % 5 == 0, 2).astype(int)
    logits = random.normal(0, 1, (IMAGES, 2))
    logits[np.arange(IMAGES), truth] += 2
    return Predictions(
        labels=("nv", "mel"),
        truth=truth,
        groups=np.array([f"lesion-{row // 2}" for row in range(IMAGES)]),
        images=np.array([f"{row}.jpg" for row in range(IMAGES)]),
        malignant=(False, True),
        **outputs(logits),
    )


def manifest(baseline: Predictions, **columns: Any) -> Manifest:
    """Each column is a function of the lesion's number."""
    items = []
    for row, image in enumerate(baseline.images):
        attributes = {name: text for name, value in columns.items() if (text := value(row // 2))}
        items.append(Item(FOLDER / str(image), "any", str(baseline.groups[row]), None, attributes))
    return Manifest(tuple(reversed(items)), FOLDER / "data.csv", FOLDER)


def sex(lesion: int) -> str:
    return "female" if lesion % 20 == 0 else "unknown" if lesion % 20 == 1 else "male"


@pytest.mark.parametrize(
    ("text", "band"),
    [
        *(("0", "under 30"), ("29.5", "under 30"), ("30", "30 to 49"), ("49", "30 to 49"), ("50.0", "50 to 69")),
        *(("70", "70 and over"), ("104", "70 and over")),
        *((text, "") for text in ("-3", "131", "old", "nan", "inf", "")),
    ],
)
def test_age_bands(text: str, band: str) -> None:
    assert age_band(text) == band


def test_unstated_attributes_give_no_subgroups(baseline: Predictions) -> None:
    assert subgroups(baseline, baseline, manifest(baseline), draws=20) == {}
    assert subgroups(baseline, baseline, manifest(baseline, sex=lambda _: "Unknown"), draws=20) == {}


def test_too_few_lesions_get_no_figure(baseline: Predictions) -> None:
    male, female, unstated = subgroups(baseline, baseline, manifest(baseline, sex=sex), draws=50)["sex"]
    assert (female["subgroup"], female["lesions"], female["images"]) == ("female", 10, 20)
    assert (unstated["subgroup"], unstated["lesions"]) == ("", 10)
    for few in (female, unstated):
        assert few["agreement"] is few["balanced_accuracy"] is few["malignant_recall"] is None
    assert (male["subgroup"], male["lesions"], male["malignant_lesions"]) == ("male", 180, 30)
    assert male["agreement"]["value"] == 1
    for key in ("balanced_accuracy", "malignant_recall"):
        change = male[key]["difference"]
        assert change["value"] == 0
        assert -change["low"] == change["high"] > 0  # no difference in a few lesions is not certainty
        assert male[key]["baseline"] == male[key]["other"]


def test_malignant_recall_needs_enough_malignant_lesions(baseline: Predictions) -> None:
    found = subgroups(baseline, baseline, manifest(baseline, site=lambda n: "back" if n < 100 else "face"), draws=20)
    for record in found["site"]:
        assert record["lesions"] == 100
        assert record["malignant_lesions"] == 20
        assert record["malignant_recall"] is None
        assert record["balanced_accuracy"]["classes"] == 2


def test_damage_shows_in_its_subgroup(baseline: Predictions) -> None:
    logits = baseline.logits.copy()
    logits[:300, 1] -= 4  # hardly any of the first 150 lesions is predicted as melanoma
    other = replace(baseline, **outputs(logits))
    data = manifest(baseline, skin_tone=lambda n: "dark" if n < 150 else "light", age=lambda n: str(20 + n % 60))
    found = subgroups(baseline, other, data, draws=200)
    assert list(found) == ["age", "skin_tone"]
    assert [record["subgroup"] for record in found["age"]] == ["under 30", "30 to 49", "50 to 69", "70 and over"]
    dark, light = found["skin_tone"]
    assert (dark["subgroup"], light["subgroup"]) == ("dark", "light")
    assert dark["malignant_recall"]["difference"]["high"] < -0.5
    assert dark["balanced_accuracy"]["difference"]["high"] < -0.2
    assert dark["agreement"]["high"] < 0.9
    assert dark["flips"] > 0
    assert light["flips"] == 0
    assert light["balanced_accuracy"]["difference"]["value"] == 0


def test_tiny_classes_are_left_out_of_the_mean(baseline: Predictions) -> None:
    """One lesion lost in a class of two would halve its recall."""
    truth = baseline.truth.copy()
    truth[truth == 1] = np.where(np.arange((truth == 1).sum()) < 4, 1, 0)
    few = replace(baseline, truth=truth)
    (record,) = subgroups(few, few, manifest(few, sex=lambda _: "male"), draws=20)["sex"]
    assert record["malignant_lesions"] == 2
    assert record["balanced_accuracy"]["classes"] == 1


def test_images_that_the_data_set_does_not_list_are_refused(baseline: Predictions) -> None:
    data = manifest(baseline, sex=sex)
    with pytest.raises(DataError, match=r"data\.csv: does not list 0\.jpg\. Pass the data set that the predictions"):
        subgroups(baseline, baseline, replace(data, items=data.items[:-1]), draws=20)
