"""The JSON Schemas in docs/reference/schemas accept what the commands write and reject changes of it.

`test_bench_schemas.py` has the commands of `bench`.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

import spot_edge
from spot_bench.data.drawn import draw_lesion, encode_jpeg
from spot_convert.commands.inspect import inspect
from spot_convert.commands.kit import kit
from spot_edge.commands.classify import classify
from spot_edge.commands.doctor import doctor
from spot_edge.commands.info import info
from spot_edge.errors import CheckError, DataError, ModelError
from spot_edge.model.interpreter import Interpreter
from spot_edge.model.old_names import current_report
from spot_train.commands.data import data

REPOSITORY = Path(__file__).parents[2]
SCHEMAS = REPOSITORY / "docs" / "reference" / "schemas"
NAMES = sorted(path.name.removesuffix(".schema.json") for path in SCHEMAS.glob("*.schema.json"))
OPEN = {"results"}  # apps write these and may add keys
EMBEDDED = Path(spot_edge.__file__).parent / "models" / "spot-int8.tflite"

Validate: TypeAlias = Callable[[str, Any], Any]
JsonOf: TypeAlias = Callable[..., Any]


def schema_of(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return loaded


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


def test_predictions(validate: Validate, json_of: JsonOf, work: Path, files: tuple[Path, Path], shapes: Path) -> None:
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


def test_saved_and_misbehaving_predictions(validate: Validate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = REPOSITORY / "examples" / "drawn-melanoma-001.jpg"
    done = CliRunner().invoke(classify, [str(drawn), "--json", "--save", str(tmp_path)])
    saved = json.loads((tmp_path / "drawn-melanoma-001.json").read_text())
    assert json.loads(done.stdout) | {"saved_image_sha256": saved["saved_image_sha256"]} == saved
    validate("prediction", saved)
    right = Interpreter.invoke
    wrong = {"scores": np.full(7, -19, np.float32)}
    monkeypatch.setattr(Interpreter, "invoke", lambda self, tensor: right(self, tensor) | wrong)
    done = CliRunner().invoke(classify, [str(drawn), "--json"])
    validate("prediction", json.loads(done.stdout))
    assert done.exit_code == 5


def test_model_files(validate: Validate, json_of: JsonOf, files: tuple[Path, Path]) -> None:
    for path in (*files, EMBEDDED):
        about = validate("info", json_of(info, path))
        with zipfile.ZipFile(path) as bundle:
            own = json.loads(bundle.read("spot.json"))
        if path != EMBEDDED:  # it has old names, which `info` translates
            validate("spot", own)
        validate("spot", {"schema": own["schema"], **about["spec"]})


def test_doctor(validate: Validate, json_of: JsonOf, work: Path) -> None:
    validate("doctor", json_of(doctor))
    done = CliRunner().invoke(doctor, [str(work / "no-file.tflite"), "--json"])
    assert done.exit_code == ModelError.exit_code
    assert validate("doctor", json.loads(done.stdout))["model"] is None


def test_run_directory(validate: Validate, shapes_run: Path, restored_run: Path) -> None:
    for name in ("run", "metrics"):
        validate(name, json.loads((shapes_run / f"{name}.json").read_text()))
    validate("run", json.loads((restored_run / "run.json").read_text()))
    assert validate("metrics", current_report(json.loads((restored_run / "metrics.json").read_text())))["decision"]


def test_conversion(validate: Validate, shapes_family: Path) -> None:
    report = validate("conversion", json.loads((shapes_family / "report.json").read_text()))
    assert any(file["comparison_on_validation"] for file in report["files"])


def test_inspection(validate: Validate, json_of: JsonOf, files: tuple[Path, Path], work: Path) -> None:
    validate("inspect", json_of(inspect, files[0]))
    assert validate("inspect", json_of(inspect, files[0], "--layers", "--against", files[1]))["against"]
    content = files[0].read_bytes()
    damaged = work / "damaged.tflite"
    damaged.write_bytes(content[:-100] + bytes(100))
    validate("inspect", json_of(inspect, damaged))


def test_kit(
    validate: Validate, json_of: JsonOf, made_once: Callable[[str, Callable[[Path], None]], Path], work: Path
) -> None:
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


def test_data_check(validate: Validate, json_of: JsonOf, shapes: Path, work: Path) -> None:
    validate("data-check", json_of(data, "check", shapes))
    folder = work / "one-class" / "nv"
    folder.mkdir(parents=True)
    (folder / "0.jpg").write_bytes(encode_jpeg(draw_lesion(0)))
    assert validate("data-check", json_of(data, "check", folder.parent, error=DataError))["findings"]


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
def test_changed_prediction_is_rejected(validate: Validate, change: str) -> None:
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
            change(reduce(getitem, where[:-1], document), where[-1])
            assert not validator.is_valid(document), where


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()
