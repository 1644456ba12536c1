"""The JSON Schemas in docs/reference/schemas accept what the commands write and reject changes of it."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

import spot_edge
from spot_bench.commands.bench import bench
from spot_bench.data.drawn import draw_lesion, encode_jpeg
from spot_bench.robustness import quality
from spot_convert.commands.inspect import inspect
from spot_convert.commands.kit import kit
from spot_edge.commands.classify import classify
from spot_edge.commands.doctor import doctor
from spot_edge.commands.info import info
from spot_edge.errors import CheckError, DataError, ModelError, SpotError
from spot_train.commands.data import data

REPOSITORY = Path(__file__).parents[2]
SCHEMAS = REPOSITORY / "docs" / "reference" / "schemas"
NAMES = sorted(path.name.removesuffix(".schema.json") for path in SCHEMAS.glob("*.schema.json"))
OPEN = {"results"}  # apps write these and may add keys
MAX_CHANGES = 12  # of each document
EMBEDDED = Path(spot_edge.__file__).parent / "models" / "spot-int8.tflite"


def schema_of(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return loaded


def validate(name: str, document: Any) -> Any:
    """Check that `document` is valid, and invalid with an extra key in any kind of object. Returns it."""
    validator = Draft202012Validator(schema_of(name), format_checker=FormatChecker())
    validator.validate(document)
    if name not in OPEN:
        places = {_kind(path): path for path in _paths(document)}
        for path in [*places.values()][:: 1 + len(places) // MAX_CHANGES]:
            changed = copy.deepcopy(document)
            _at(changed, path)["unexpected"] = [[]]  # a value that no map allows
            assert not validator.is_valid(changed), f"{name}: {path} accepts any key"
    return document


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every object in a document."""
    if isinstance(value, dict):
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield from _paths(inner, (*path, key))


def _kind(path: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple("item" if isinstance(step, int) else step for step in path)


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def json_of(command: click.Command, *arguments: object, error: type[SpotError] | None = None) -> Any:
    """Run a command, which may have to fail with `error`, and return the JSON that it prints."""
    done = CliRunner().invoke(command, [*map(str, arguments), "--json"])
    assert done.exception is None if error is None else isinstance(done.exception, error), done.output
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("schemas")


@pytest.fixture(scope="module")
def files(shapes_family: Path) -> tuple[Path, Path]:
    """The shapes' int8 and float32 model files."""
    return shapes_family / "shapes-int8.tflite", shapes_family / "shapes-float32.tflite"


@pytest.fixture(scope="module")
def images(shapes_run: Path, shapes: Path, work: Path) -> tuple[object, ...]:
    """Options that select a few of the shapes, with ages and sexes."""
    header, *rows = (shapes_run / "split.csv").read_text().splitlines()
    few = [row for row in rows if row.split(",")[header.split(",").index("split")] == "val"]
    path = work / "few.csv"
    path.write_text("\n".join([f"{header},age,sex", *(f"{row},{20 + n},f" for n, row in enumerate(few))]) + "\n")
    return ("--data", path, "--root", shapes, "--split", "all")


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_valid(name: str) -> None:
    schema = schema_of(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].startswith(f"urn:spot-edge:{name}:")
    assert schema["title"]
    assert schema["description"]


def test_shared_definitions_agree() -> None:
    known: dict[str, Any] = {}
    for name in NAMES:
        for key, definition in schema_of(name).get("$defs", {}).items():
            assert known.setdefault(key, definition) == definition, f"{name}: {key}"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OPEN])
def test_every_object_is_closed(name: str) -> None:
    """Otherwise nobody would notice a misspelled key."""
    assert all("additionalProperties" in each for each in _objects(schema_of(name)))


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if "object" in np.atleast_1d(schema.get("type", "")):
            yield schema
        for value in schema.values():
            yield from _objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _objects(value)


def test_predictions(work: Path, files: tuple[Path, Path], shapes: Path) -> None:
    bad = work / "no-image.jpg"
    bad.write_bytes(b"nothing")
    blurred = work / "grey.png"
    blurred.write_bytes(_png(np.full((120, 160, 3), 128, np.uint8)))
    drawn = REPOSITORY / "examples" / "drawn-melanoma-001.jpg"
    done = CliRunner().invoke(classify, [str(drawn), str(bad), str(blurred), "--json"])
    good, failed, rejected = map(json.loads, done.stdout.splitlines())
    for prediction in (good, failed, rejected):
        validate("prediction", prediction)
    assert good["prediction_set"] is not None
    assert failed["error"]
    assert rejected["quality"]
    shape = next(shapes.rglob("*.jpg"))
    assert validate("prediction", json_of(classify, shape, "--model", files[0]))["triage"] is None
    folder = work / "burst"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.jpg").write_bytes(drawn.read_bytes())
    assert validate("prediction", json_of(classify, folder, "--burst", 2))["burst"]["frames"] == 2


def test_model_files(files: tuple[Path, Path]) -> None:
    for path in (*files, EMBEDDED):
        about = validate("info", json_of(info, path))
        with zipfile.ZipFile(path) as bundle:
            own = json.loads(bundle.read("spot.json"))
        if path != EMBEDDED:  # it has old names, which `info` translates
            validate("spot", own)
        validate("spot", {"schema": own["schema"], **about["spec"]})


def test_doctor(work: Path) -> None:
    validate("doctor", json_of(doctor))
    done = CliRunner().invoke(doctor, [str(work / "no-file.tflite"), "--json"])
    assert done.exit_code == ModelError.exit_code
    assert validate("doctor", json.loads(done.stdout))["model"] is None


def test_run_directory(shapes_run: Path, restored_run: Path) -> None:
    for name in ("run", "metrics"):
        validate(name, json.loads((shapes_run / f"{name}.json").read_text()))
    validate("run", json.loads((restored_run / "run.json").read_text()))
    assert validate("metrics", json.loads((restored_run / "metrics.json").read_text()))["decision"]


def test_conversion(shapes_family: Path) -> None:
    report = validate("conversion", json.loads((shapes_family / "report.json").read_text()))
    assert any(file["comparison_on_validation"] for file in report["files"])


def test_inspection(files: tuple[Path, Path], work: Path) -> None:
    validate("inspect", json_of(inspect, files[0]))
    assert validate("inspect", json_of(inspect, files[0], "--layers", "--against", files[1]))["against"]
    content = files[0].read_bytes()
    damaged = work / "damaged.tflite"
    damaged.write_bytes(content[:-100] + bytes(100))
    validate("inspect", json_of(inspect, damaged))


def test_kit(made_once: Callable[[str, Callable[[Path], None]], Path], work: Path) -> None:
    def make(folder: Path) -> None:  # the same as in the kit's own tests, which share it
        done = CliRunner().invoke(kit, ["export", "--out", str(folder / "kit")])
        assert done.exit_code == 0, done.output

    folder, results = made_once("kit", make) / "kit", work / "results.json"
    vectors = json.loads((folder / "vectors.json").read_text())
    for image in vectors["images"]:
        Draft202012Validator(schema_of("vectors")).validate(vectors | {"images": [image]})
    small = {key: vectors["images"][0]["outputs"][key] for key in ("spot-edge", "bgr")}  # the others look the same
    validate("vectors", vectors | {"images": [vectors["images"][0] | {"outputs": small}]})
    entries = [{"image": each["image"]} | each["outputs"]["spot-edge"] for each in vectors["images"]]
    keys = ("image", "scores", "input_sha256", "input_mean")
    correct = [{key: entry[key] for key in keys} for entry in entries]
    swapped = [entry | {"scores": entry["scores"][::-1], "labels": vectors["labels"]} for entry in correct]
    about = {"schema": 1, "platform": "test", "model": vectors["model"]["id"], "resize": "spot-edge"}
    for answers, conforms in ((correct, True), (swapped, False)):
        results.write_text(json.dumps(validate("results", about | {"results": answers})))
        verdict = json_of(kit, "check", folder, results, error=None if conforms else CheckError)
        assert validate("kit-check", verdict)["conforms"] is conforms


def test_data_check(shapes: Path, work: Path) -> None:
    validate("data-check", json_of(data, "check", shapes))
    folder = work / "one-class" / "nv"
    folder.mkdir(parents=True)
    (folder / "0.jpg").write_bytes(encode_jpeg(draw_lesion(0)))
    assert validate("data-check", json_of(data, "check", folder.parent, error=DataError))["findings"]


def test_drift(files: tuple[Path, Path], shapes_family: Path, images: tuple[object, ...], work: Path) -> None:
    latency = validate(
        "latency",
        json_of(
            bench, "latency", *files, "--samples", 6, "--seconds", 0, "--cold", 1, "--threads", 1, "--out", work / "t"
        ),
    )
    assert latency["models"][0]["against_float32"]
    validate("compare", json_of(bench, "compare", work / "t" / "report.json", work / "t" / "report.json"))
    dynamic = shapes_family / "shapes-dynamic.tflite"
    options = ("--baseline", files[1], *images, "--latency", work / "t" / "report.json", "--out", work / "drift")
    report = validate("drift", json_of(bench, "drift", files[0], dynamic, *options))
    assert report == json.loads((work / "drift" / "report.json").read_text())
    assert report["comparisons"][0]["subgroups"]


def test_predict(files: tuple[Path, Path], images: tuple[object, ...], work: Path) -> None:
    validate("predict", json_of(bench, "predict", files[0], *images, "--out", work / "predictions"))


def test_external(files: tuple[Path, Path], images: tuple[object, ...]) -> None:
    validate("external", json_of(bench, "external", files[0], *images, "--positive", "circle", "--class", "square"))


def test_robustness(files: tuple[Path, Path], images: tuple[object, ...]) -> None:
    validate("robustness", json_of(bench, "robustness", files[0], *images, "--images", 4))


@pytest.fixture
def lesions(tmp_path: Path) -> Path:
    """Class folders of two drawn lesions each."""
    for label in ("mel", "nv"):
        (tmp_path / label).mkdir()
        for seed in range(2):
            drawn = draw_lesion(seed, kind="nevus" if label == "nv" else "melanoma")
            (tmp_path / label / f"{seed}.jpg").write_bytes(encode_jpeg(drawn))
    return tmp_path


def test_burst(lesions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spot_bench.robustness import bursts

    monkeypatch.setattr(bursts, "measure_bursts", partial(bursts.measure_bursts, repeats=2, within=1.0))
    validate("burst", json_of(bench, "burst", EMBEDDED, "--data", lesions, "--split", "all", "--burst", 2))


def test_quality(lesions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "DRAWN", 2)
    options = ("--data", lesions, "--split", "all", "--images", 2, "--other", f"again={lesions / 'nv'}")
    assert len(validate("quality", json_of(bench, "quality", EMBEDDED, *options))["others"]) > 1


def test_overhead() -> None:
    from spot_bench.speed.overhead import measure_overhead

    validate("overhead", measure_overhead(calls=2, stills=1, processes=1))


def test_folder(lesions: Path, files: tuple[Path, Path]) -> None:
    validate("folder", json_of(bench, "folder", lesions, "--model", files[0], "--repeats", 2))


def test_soak(files: tuple[Path, Path], shapes: Path) -> None:
    """On a busy machine the limits may be exceeded, which does not matter here."""
    arguments = ["soak", str(next(shapes.rglob("*.jpg"))), "--images", "800", "--model", str(files[0]), "--json"]
    done = CliRunner().invoke(bench, arguments)
    assert done.exception is None or isinstance(done.exception, CheckError)
    validate("soak", json.loads(done.stdout.splitlines()[-1]))


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "an extra key": lambda record: record.update(extra=1),
    "a missing key": lambda record: record.pop("notes"),
    "another schema version": lambda record: record.update(schema=2),
    "an old name": lambda record: record.update(remarks=record.pop("notes")),
    "another category": lambda record: record["triage"].update(category="perhaps"),
    "a score above 1": lambda record: record["ranked"][0].update(score=1.5),
    "text instead of a number": lambda record: record["timings_ms"].update(decode="fast"),
    "an id that is no digest": lambda record: record["model"].update(id="spot"),
    "an error and a prediction": lambda record: record.update(error="none"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_prediction_is_rejected(change: str) -> None:
    record = spot_edge.Classifier.load().classify(REPOSITORY / "examples" / "drawn-melanoma-001.jpg").as_dict()
    validate("prediction", json.loads(json.dumps(record)))
    CHANGES[change](record)
    with pytest.raises(ValidationError):
        validate("prediction", json.loads(json.dumps(record)))


def test_changed_report_is_rejected(shapes_run: Path, shapes_family: Path) -> None:
    for name, path, where in (
        ("run", shapes_run / "run.json", ("weights", "sha256")),
        ("run", shapes_run / "run.json", ("image", "geometry")),
        ("metrics", shapes_run / "metrics.json", ("accuracy", "low")),
        ("conversion", shapes_family / "report.json", ("files", 0, "bytes")),
        ("conversion", shapes_family / "report.json", ("files", 1, "drift", "verdict")),
        ("conversion", shapes_family / "report.json", ("files", 1, "comparison_on_validation", "flips")),
    ):
        validator = Draft202012Validator(schema_of(name))
        for change in (lambda record, key: record.pop(key), lambda record, key: record.update({key: "other"})):
            document = json.loads(path.read_text())
            assert validator.is_valid(document)
            change(_at(document, where[:-1]), where[-1])
            assert not validator.is_valid(document), where


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()
