"""The large JPEG in kits of models whose geometry reduces such images."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imitation import Pixels, bilinear, right_way, run_command, verdict
from jsonschema import Draft202012Validator
from PIL import Image

from spot_bench.data.drawn import draw_lesion
from spot_convert.commands import kit as cli
from spot_convert.kit import export
from spot_convert.kit.stills import draw_still
from spot_edge import Classifier, read_model
from spot_edge.model.file import seal
from spot_edge.model.interpreter import Interpreter
from spot_edge.model.spec import ImageSpec

MODEL = "spot-int8.tflite"


@pytest.fixture(scope="module")
def large_kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit of the embedded model with the reduced geometry, with one small image."""
    folder, model = tmp_path_factory.mktemp("large"), read_model()
    with zipfile.ZipFile(io.BytesIO(model.content)) as bundle:
        flatbuffer = model.content[: min(info.header_offset for info in bundle.infolist())]
    spec = model.spec._replace(image=model.spec.image._replace(geometry="stretch-reduced-jpeg"))
    extra = {name: content for name, content in model.members.items() if name not in ("labels.txt", "spot.json")}
    (folder / MODEL).write_bytes(seal(flatbuffer, spec, extra))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "draw_images", lambda size: {"1-a.png": draw_lesion(1, 64, 48)})
        done = run_command(cli.kit.commands["export"], folder / MODEL, "--out", folder / "kit")
    assert done.exit_code == 0, done.output
    assert "a model, 2 test images" in done.output
    return folder / "kit"


def still_of(kit: Path) -> dict[str, Any]:
    (still,) = json.loads((kit / "vectors.json").read_text())["stills"]
    return dict(still)


def results(kit: Path, prepare: Callable[[Image.Image, int], Pixels], **says: object) -> dict[str, Any]:
    """Return the results of an app that prepares the large JPEG with its own decoder."""
    name, model = still_of(kit)["image"], read_model(kit / MODEL)
    tensor = prepare(Image.open(kit / name), model.spec.image.size)
    scores = Interpreter(model, threads=1).invoke(np.ascontiguousarray(tensor)[np.newaxis])["scores"].ravel()
    return {"schema": 1, **says, "results": [{"image": name, "scores": scores.tolist()}]}


def reduced(image: Image.Image, side: int) -> Pixels:
    image.draft(None, (side, side))
    return np.asarray(image)


def test_the_kit_has_a_large_jpeg_with_the_scores_of_the_device(large_kit: Path, repository: Path) -> None:
    record, still = json.loads((large_kit / "vectors.json").read_text()), still_of(large_kit)
    schema = json.loads((repository / "docs" / "reference" / "schemas" / "vectors.schema.json").read_text())
    small = record["images"][0] | {"outputs": {"spot-edge": record["images"][0]["outputs"]["spot-edge"]}}
    Draft202012Validator(schema).validate(record | {"images": [small]})
    path = large_kit / still["image"]
    assert path.stat().st_size < 300_000
    prediction = Classifier.load(large_kit / MODEL, threads=1).classify(path)
    assert prediction.as_dict()["image"]["reduction"] == still["reduction"] == 2
    scores = {each.label: each.score for each in prediction.ranked}
    assert [scores[label] for label in record["labels"]] == pytest.approx(
        still["outputs"]["spot-edge"]["scores"], abs=record["tolerance"]["score"]
    )
    readme = (large_kit / "README.md").read_text()
    assert f"a score may differ by {still['tolerance']:.3f}" in readme
    assert "$" not in readme


@pytest.mark.parametrize(
    ("prepare", "says", "conforms"),
    [
        (lambda image, size: right_way(np.asarray(image), size), {}, True),
        (lambda image, size: right_way(reduced(image, 3 * size), size), {}, True),
        (lambda image, size: right_way(np.asarray(image.resize((96, 72))), size), {}, False),
        (lambda image, size: right_way(np.asarray(image)[..., ::-1], size), {}, False),
        (lambda image, size: bilinear(np.asarray(image), size, size), {"resize": "stock"}, True),
        (lambda image, size: np.rot90(bilinear(np.asarray(image), size, size)), {"resize": "stock"}, False),
    ],
    ids=["full size", "reduced", "thumbnail", "BGR", "stock resizing", "stock resizing, turned"],
)
def test_the_large_jpeg_has_a_tolerance_of_scores(
    large_kit: Path, tmp_path: Path, repository: Path, prepare: Any, says: dict[str, str], conforms: bool
) -> None:
    found = verdict(large_kit, tmp_path, results(large_kit, prepare, **says))
    schema = json.loads((repository / "docs" / "reference" / "schemas" / "kit-check.schema.json").read_text())
    Draft202012Validator(schema).validate(found)
    (finding,) = found["findings"]
    assert (finding["folder"], finding["images"], finding["conforms"]) == ("stills", 1, conforms)
    assert (finding["largest"] <= found["tolerance"]["stills"]) == conforms
    assert len(finding["notes"]) == (not conforms)


def test_the_report_names_the_tolerance_of_the_large_jpeg(large_kit: Path, tmp_path: Path) -> None:
    record = results(large_kit, lambda image, size: right_way(np.asarray(image)[..., ::-1], size))
    (tmp_path / "results.json").write_text(json.dumps(record))
    printed = run_command(cli.kit.commands["check"], large_kit, tmp_path / "results.json").stdout
    assert f"allowed for a score {still_of(large_kit)['tolerance']:.3f}" in printed
    assert "decode large JPEGs at full size" in printed


def test_another_number_of_values_than_scores_does_not_conform(large_kit: Path, tmp_path: Path) -> None:
    record = results(large_kit, lambda image, size: right_way(np.asarray(image), size))
    record["results"][0]["scores"] = [0.0] * 1280  # as long as the embedding
    (finding,) = verdict(large_kit, tmp_path, record)["findings"]
    assert not finding["conforms"]
    assert finding["largest"] is None


def test_other_kits_have_no_large_jpeg() -> None:
    assert draw_still(ImageSpec(192)) is None
    assert draw_still(ImageSpec(2048, "stretch-reduced-jpeg")) is None  # no JPEG of at most 50 megapixels is reduced
    assert draw_still(ImageSpec(64, "stretch-reduced-jpeg")) is not None
