"""`bench quality`: what the image quality checks refuse, on a model with limits and one without."""

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
from spot_bench.data.drawn.shapes import NOT_SKIN
from spot_bench.robustness import quality as measuring
from spot_edge import Classifier
from spot_edge.model.file import read_model, seal


@pytest.fixture(scope="module")
def embedded() -> Path:
    """The embedded model file, which has quality limits."""
    return Path(spot_edge.__file__).parent / "models" / "spot-int8.tflite"


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a manifest of drawn lesions in the test split, two images of each."""
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
    monkeypatch.setattr(measuring, "DRAWN", 24)


def quality(*arguments: object) -> dict:
    done = CliRunner().invoke(bench, ["quality", *map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def test_non_skin_and_strong_defects_are_refused_but_not_drawn_lesions(
    embedded: Path, lesions: Path, tmp_path: Path
) -> None:
    report = quality(embedded, "--data", lesions, "--images", 3, "--out", tmp_path / "out")
    assert report["good"]["refused"]["n"] == 2 * len(KINDS)
    assert report["good"]["refused"]["groups"] == len(KINDS)
    assert report["good"]["refused"]["value"] < 0.5
    caught = {f"{row['severity']} {row['kind']}": row["refused"]["value"] for row in report["defects"]}
    assert all(caught[f"strong {kind}"] == 1 for kind in ("blur", "over-exposure", "under-exposure"))
    assert [row["name"] for row in report["others"]] == list(NOT_SKIN)
    for row in report["others"]:
        assert row["refused"]["value"] >= 0.95
        assert row["auc_ood"]["value"] >= 0.95
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report


def test_refusals_match_the_device(embedded: Path, lesions: Path) -> None:
    blurred = [row for row in quality(embedded, "--data", lesions, "--images", 1)["defects"] if row["kind"] == "blur"]
    assert [row["refused"]["n"] for row in blurred] == [1, 1]
    assert blurred[1]["checks"]["sharpness"]["value"] == 1
    assert not Classifier.load(embedded).classify(lesions.parent / f"{KINDS[0]}-a.jpg").quality


def test_other_images_are_reported_by_name(embedded: Path, lesions: Path, tmp_path: Path) -> None:
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
    )["others"][len(NOT_SKIN) :]
    assert [row["name"] for row in found] == ["pixels", "again"]
    assert found[0]["refused"]["n"] == 4
    assert found[0]["refused"]["groups"] == 3  # one image is named twice
    assert found[0]["refused"]["value"] == 1
    assert len(found[0]["unreadable"]) == 1
    assert "small.png" in found[0]["unreadable"][0]
    assert found[1]["auc_ood"]["value"] == 0.5  # the same images
    assert found[1]["refused"]["groups"] == len(KINDS)


@pytest.mark.parametrize("other", ["folder", "=folder", "name="])
def test_other_needs_a_name_and_a_path(other: str, embedded: Path, lesions: Path) -> None:
    done = CliRunner().invoke(bench, ["quality", str(embedded), "--data", str(lesions), "--other", other])
    assert done.exit_code == 2
    assert "NAME=PATH" in done.output


def test_a_folder_without_images_is_refused(embedded: Path, lesions: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(bench, ["quality", str(embedded), "--data", str(lesions), "--other", f"none={tmp_path}"])
    assert "no images" in str(done.exception)


def test_a_model_without_limits_is_refused(lesions: Path, tmp_path: Path) -> None:
    model = read_model()
    with zipfile.ZipFile(io.BytesIO(model.content)) as bundle:
        end = min(info.header_offset for info in bundle.infolist())
    (tmp_path / "plain.tflite").write_bytes(seal(model.content[:end], model.spec._replace(image_quality=None)))
    done = CliRunner().invoke(bench, ["quality", str(tmp_path / "plain.tflite"), "--data", str(lesions)])
    assert "no image quality limits" in str(done.exception)


def test_photographs_are_refused(embedded: Path, lesions: Path) -> None:
    """The photographs of scikit-image: cats, coins, pages, retinas, rockets."""
    photographs = Path(skimage.__file__).parent / "data"
    (found,) = quality(embedded, "--data", lesions, "--images", 1, "--other", f"photographs={photographs}")["others"][
        len(NOT_SKIN) :
    ]
    assert found["refused"]["n"] >= 20
    assert found["refused"]["value"] >= 0.92


@pytest.mark.parametrize("name", NOT_SKIN)
def test_non_skin_images_depend_on_the_seed(name: str) -> None:
    first, again, other = (np.asarray(NOT_SKIN[name](seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()
