"""What limits of capture quality refuse, measured: on a model file with limits, and refused for one without."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skimage
from click.testing import CliRunner
from PIL import Image

import spot_edge
from spot_bench.commands.bench import bench
from spot_bench.data.drawn import KINDS, draw_lesion, encode_jpeg
from spot_bench.data.drawn.shapes import STRANGERS
from spot_bench.robustness.measure import quality as refusals
from spot_edge import Classifier
from spot_edge.model.file import read_model, seal


@pytest.fixture(scope="module")
def embedded() -> Path:
    """The embedded model's file, which has limits."""
    return Path(spot_edge.__file__).parent / "models" / "spot-int8.tflite"


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of drawn lesions in the test part; every two pictures show one lesion."""
    folder = tmp_path_factory.mktemp("lesions")
    rows = ["image,label,group,split"]
    for seed, kind in enumerate(KINDS):
        for copy in "ab":
            (folder / f"{kind}-{copy}.jpg").write_bytes(encode_jpeg(draw_lesion(seed, kind=kind)))
            rows.append(f"{kind}-{copy}.jpg,nv,{kind},test")
    (folder / "data.csv").write_text("\n".join(rows) + "\n")
    return folder / "data.csv"


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "DRAWN", 24)


def quality(*arguments: object) -> dict:
    done = CliRunner().invoke(bench, ["quality", *map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def test_strangers_and_strong_defects_are_refused_and_drawn_lesions_are_not(
    embedded: Path, lesions: Path, tmp_path: Path
) -> None:
    report = quality(embedded, "--data", lesions, "--images", 3, "--out", tmp_path / "out")
    assert report["good"]["refused"]["n"] == 2 * len(KINDS)
    assert report["good"]["refused"]["groups"] == len(KINDS)
    assert report["good"]["refused"]["value"] < 0.5
    caught = {f"{row['severity']} {row['kind']}": row["refused"]["value"] for row in report["defects"]}
    assert all(caught[f"strong {kind}"] == 1 for kind in ("blur", "over-exposure", "under-exposure"))
    assert [row["name"] for row in report["others"]] == list(STRANGERS)
    for row in report["others"]:
        assert row["refused"]["value"] >= 0.95
        assert row["auc_ood"]["value"] >= 0.95
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report


def test_what_is_refused_is_what_the_device_refuses(embedded: Path, lesions: Path) -> None:
    blurred = [row for row in quality(embedded, "--data", lesions, "--images", 1)["defects"] if row["kind"] == "blur"]
    assert [row["refused"]["n"] for row in blurred] == [1, 1]
    assert blurred[1]["checks"]["sharpness"]["value"] == 1
    assert not Classifier.load(embedded).classify(lesions.parent / f"{KINDS[0]}-a.jpg").quality


def test_other_pictures_are_judged_by_name(embedded: Path, lesions: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (60, 80, 3), np.uint8)).save(
            folder / f"{number}.png"
        )
    Image.new("RGB", (5, 5)).save(folder / "small.png")
    found = quality(
        embedded,
        "--data",
        lesions,
        "--images",
        1,
        "--other",
        f"pixels={folder}",
        "--other",
        f"again={lesions}",
        "--other",
        f"pixels={folder / '1.png'}",
    )["others"][len(STRANGERS) :]
    assert [row["name"] for row in found] == ["pixels", "again"]
    assert found[0]["refused"]["n"] == 4
    assert found[0]["refused"]["groups"] == 3  # a picture that is named twice
    assert found[0]["refused"]["value"] == 1
    assert len(found[0]["unread"]) == 1
    assert "small.png" in found[0]["unread"][0]
    assert found[1]["auc_ood"]["value"] == 0.5  # the same pictures
    assert found[1]["refused"]["groups"] == len(KINDS)


@pytest.mark.parametrize("other", ["folder", "=folder", "name="])
def test_others_without_name_or_path_are_refused(other: str, embedded: Path, lesions: Path) -> None:
    done = CliRunner().invoke(bench, ["quality", str(embedded), "--data", str(lesions), "--other", other])
    assert done.exit_code == 2
    assert "NAME=PATH" in done.output


def test_a_folder_without_pictures_is_refused(embedded: Path, lesions: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(bench, ["quality", str(embedded), "--data", str(lesions), "--other", f"none={tmp_path}"])
    assert "no pictures" in str(done.exception)


def test_a_model_without_limits_is_refused(lesions: Path, tmp_path: Path) -> None:
    model = read_model()
    with zipfile.ZipFile(io.BytesIO(model.content)) as bundle:
        end = min(info.header_offset for info in bundle.infolist())
    (tmp_path / "plain.tflite").write_bytes(seal(model.content[:end], model.spec._replace(image_quality=None)))
    done = CliRunner().invoke(bench, ["quality", str(tmp_path / "plain.tflite"), "--data", str(lesions)])
    assert "no limits" in str(done.exception)


def test_photographs_are_refused(embedded: Path, lesions: Path) -> None:
    """Those that scikit-image brings: cats, coins, pages, retinas, rockets."""
    photographs = Path(skimage.__file__).parent / "data"
    (found,) = quality(embedded, "--data", lesions, "--images", 1, "--other", f"photographs={photographs}")["others"][
        len(STRANGERS) :
    ]
    assert found["refused"]["n"] >= 20
    assert found["refused"]["value"] >= 0.92


@pytest.mark.parametrize("name", STRANGERS)
def test_strangers_are_the_same_for_the_same_seed_and_differ_otherwise(name: str) -> None:
    first, again, other = (np.asarray(STRANGERS[name](seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()
