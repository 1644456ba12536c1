"""`convert --views`: temperature and thresholds for the mean over several views, and predictions that use them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from spot_bench.commands.bench import bench
from spot_bench.data.predictions import load_predictions
from spot_bench.run.progress import no_bar
from spot_bench.stats.calibration import fit_temperature
from spot_bench.stats.conformal import conformal_thresholds
from spot_convert.commands.convert import convert
from spot_convert.images import EvaluationImages, GateImages
from spot_convert.pipeline import Job, _fit_views
from spot_convert.run import Run
from spot_convert.runtimes.predictions import Environments
from spot_edge import Classifier, read_model
from spot_edge.commands.info import info
from spot_edge.errors import DataError, ModelError
from spot_edge.model.spec import MeasuredIn

pytestmark = pytest.mark.long
COUNTS = (2, 8)


@pytest.fixture(scope="module")
def family(small_run: Path, made_once: Callable[..., Path]) -> Path:
    """The float32 file of the small run, whose circles are malignant here, with entries for 2 and 8 views."""

    def make(folder: Path) -> None:
        for name in ("split.csv", "model.keras", "recipe.toml"):
            (folder / name).symlink_to(small_run / name)
        about = json.loads((small_run / "run.json").read_text())
        for label in about["labels"]:
            label["malignant"] = label["label"] == "circle"
        (folder / "run.json").write_text(json.dumps(about))
        options = ["--variants", "float32", "--views", "8, 2"]
        done = CliRunner().invoke(convert, [str(folder), "--out", str(folder / "family"), *options])
        assert done.exception is None, done.output

    return made_once("views", make) / "family"


@pytest.fixture(scope="module")
def file(family: Path) -> Path:
    return family / "small-float32.tflite"


def on_bench(*arguments: object) -> Result:
    return CliRunner().invoke(bench, list(map(str, arguments)))


@pytest.fixture(scope="module")
def predicted(file: Path, small_run: Path, made_once: Callable[..., Path]) -> Path:
    """The folder with the predictions for validation, in one folder for each number of views."""

    def make(out: Path) -> None:
        images = ("--data", small_run / "split.csv", "--root", small_run / "images", "--split", "val")
        for views in (1, 8):
            done = on_bench("predict", file, *images, "--out", out / str(views), "--views", views)
            assert done.exception is None, done.output

    return made_once("views-predicted", make)


def valid(name: str, document: object, repository: Path) -> None:
    schema = json.loads((repository / "docs" / "reference" / "schemas" / f"{name}.schema.json").read_text())
    Draft202012Validator(schema).validate(document)


def test_a_file_has_an_entry_for_each_number_of_views(family: Path, file: Path, repository: Path) -> None:
    spec = read_model(file).spec
    assert tuple(entry.number for entry in spec.views) == COUNTS
    for entry in spec.views:
        assert [point.name for point in entry.operating_points] == [point.name for point in spec.operating_points]
        assert {point.measured_on for point in entry.operating_points} == {"test"}
        assert entry.conformal is not None
        assert set(entry.conformal.classes) == {"circle", "square", "triangle"}
    assert len({entry.conformal.marginal.threshold for entry in (spec, *spec.views) if entry.conformal}) == 3
    report = json.loads((family / "report.json").read_text())
    valid("conversion", report, repository)
    assert [entry["temperature"] for entry in report["files"][0]["views"]] == [e.temperature for e in spec.views]
    shown = CliRunner().invoke(info, [str(file), "--json"])
    valid("info", json.loads(shown.output), repository)
    valid("spot", {"schema": 1, **json.loads(shown.output)["spec"]}, repository)


def test_the_entry_is_fitted_on_the_mean_of_the_views(file: Path, predicted: Path) -> None:
    found, spec = load_predictions(predicted / "8" / "predictions.npz"), read_model(file).spec
    entry = spec.views[1]
    assert fit_temperature(found.logits, found.truth) == pytest.approx(entry.temperature, rel=1e-4)
    fitted_on = (found.scores, found.truth, found.groups.tolist())
    own = conformal_thresholds(found.labels, *fitted_on, measured_on="validation")
    assert entry.conformal is not None
    assert own.marginal.threshold == pytest.approx(entry.conformal.marginal.threshold, rel=1e-4)
    powers = np.exp(found.logits.astype(np.float64) / entry.temperature)
    np.testing.assert_allclose(found.scores, powers / powers.sum(axis=1, keepdims=True), rtol=1e-3)
    assert (found.operating_points, found.conformal) == (entry.operating_points, entry.conformal)
    assert not np.allclose(found.logits, load_predictions(predicted / "1" / "predictions.npz").logits)


def test_a_file_without_views_does_not_mention_them(small_file: Callable[[str], Path], small_family: Path) -> None:
    assert b'"views"' not in small_file("int8").read_bytes()
    assert "views" not in json.loads((small_family / "report.json").read_text())["files"][0]


def test_predictions_of_several_views_are_named_and_compared(predicted: Path, small_run: Path, tmp_path: Path) -> None:
    names = ("small", "float32, 8 views")
    eight = load_predictions(predicted / "8" / "predictions.npz")
    assert (eight.model["name"], eight.model["variant"]) == names
    images = ("--data", small_run / "split.csv", "--root", small_run / "images", "--split", "val")
    files = [predicted / views / "predictions.npz" for views in ("1", "8")]
    compared = on_bench("drift", files[1], "--baseline", files[0], *images)
    assert compared.exception is None, compared.output
    title = compared.output.splitlines()[0]
    assert title.startswith("small float32, 8 views (ai-edge-litert")
    assert "against small float32 (ai-edge-litert" in title


@pytest.mark.parametrize("views", ["1", "2"])
def test_predictions_are_not_resumed_with_other_views(
    views: str, file: Path, predicted: Path, small_run: Path, tmp_path: Path
) -> None:
    images = ("--data", small_run / "split.csv", "--root", small_run / "images", "--split", "val")
    finished = on_bench("predict", file, *images, "--out", predicted / "8", "--views", views, "--resume")
    assert isinstance(finished.exception, DataError)
    assert "predictions of another model, runtime or list of images" in str(finished.exception)
    about = {"model": f"{read_model(file).id}, 8 views"}
    (tmp_path / "predictions.partial").write_text(json.dumps({"schema": 1, **about}) + "\n")
    begun = on_bench("predict", file, *images, "--out", tmp_path, "--views", views, "--resume")
    assert isinstance(begun.exception, DataError)
    assert "started with another model" in str(begun.exception)


def test_a_prediction_of_several_views_is_valid(file: Path, small_run: Path, repository: Path) -> None:
    image = next((small_run / "images" / "circle").iterdir())
    record = Classifier.load(file, views=2).classify(image).as_dict()
    valid("prediction", json.loads(json.dumps(record)), repository)
    assert record["model"]["views"] == 2


def test_impossible_views_are_refused(small_run: Path, file: Path, tmp_path: Path) -> None:
    wrong = CliRunner().invoke(convert, [str(small_run), "--out", str(tmp_path / "out"), "--views", "2,3"])
    assert wrong.exit_code == 2
    assert "'3': choose from 2, 4, 8" in wrong.output
    images = ("--data", small_run / "split.csv", "--root", small_run / "images", "--out", tmp_path / "out")
    missing = on_bench("predict", file, *images, "--views", "4")
    assert isinstance(missing.exception, ModelError)
    elsewhere = on_bench("predict", file, *images, "--views", "8", "--in-runtime")
    assert elsewhere.exit_code == 2
    assert "--in-runtime excludes --resume, --runtime, --threads and --views" in elsewhere.output


def test_other_runtimes_fit_no_views_and_say_so(run: Run, small_file: Callable[[str], Path]) -> None:
    lines: list[str] = []
    engines = {"microcontroller": "litert"}
    job = Job(run, engines, {}, Environments(), lines.append, no_bar, GateImages(), (), COUNTS)
    model = read_model(small_file("int8"))
    spec = model.spec._replace(variant="microcontroller", measured_in=MeasuredIn("tflite-micro", "1"))
    images = EvaluationImages.of(run.manifest, run.manifest.split("calibrate").items)
    assert _fit_views(replace(model, spec=spec), images, job) == ()
    assert lines == [
        "microcontroller: nothing is fitted for several views, because that works only in ai-edge-litert, not in "
        "tflite-micro"
    ]
