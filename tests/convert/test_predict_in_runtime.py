"""`bench predict --in-runtime`: predictions in the runtime that a file was made for, and errors without it.

`make check TARGET=micro`, `browser` and `targets` test the other runtimes where they are installed.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from spot_bench.commands.bench import bench
from spot_bench.data.drawn import draw_shapes
from spot_bench.data.manifest import read_manifest
from spot_bench.data.predictions import load_predictions
from spot_convert.runtimes.micro import kernels
from spot_convert.runtimes.micro.source import flatbuffer_of
from spot_edge import read_model
from spot_edge.errors import DataError, ModelError, OutputError, SpotError
from spot_edge.model.file import seal
from spot_edge.model.spec import MeasuredIn


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four shapes of each kind."""
    folder = tmp_path_factory.mktemp("data")
    draw_shapes(folder, 4, 99)
    return folder


@pytest.fixture
def made_for(small_file: Callable[[str], Path], tmp_path: Path):
    """made_for(runtime) returns the int8 file, labelled as made for that runtime."""

    def make(runtime: str) -> Path:
        model = read_model(small_file("int8"))
        file = tmp_path / "other.tflite"
        spec = model.spec._replace(measured_in=MeasuredIn(runtime, "1"))
        file.write_bytes(seal(flatbuffer_of(model), spec))
        return file

    return make


def predict(*arguments: object) -> Result:
    options = ("--split", "all", "--in-runtime")
    return CliRunner().invoke(bench, ["predict", *map(str, (*arguments, *options))])


def test_the_devices_runtime_gives_the_same_predictions(
    small_file: Callable[[str], Path], data: Path, tmp_path: Path
) -> None:
    model = small_file("int8")
    done = predict(model, "--data", data, "--out", tmp_path / "own")
    assert (done.exit_code, done.exception) == (0, None)
    assert f"{tmp_path / 'own' / 'predictions.npz'}: 12 images, 0 skipped, in ai-edge-litert" in done.output
    arguments = ["predict", model, "--data", data, "--split", "all", "--out", tmp_path / "bench", "--threads", "1"]
    assert CliRunner().invoke(bench, list(map(str, arguments))).exit_code == 0
    own, theirs = (load_predictions(tmp_path / name / "predictions.npz") for name in ("own", "bench"))
    np.testing.assert_allclose(own.scores, theirs.scores, atol=1e-6)
    assert (own.images.tolist(), own.model) == (theirs.images.tolist(), theirs.model)
    assert own.embeddings is None


def test_json_and_use_in_drift(small_file: Callable[[str], Path], data: Path, tmp_path: Path) -> None:
    model = small_file("int8")
    done = predict(model, "--data", data, "--out", tmp_path, "--json")
    about = json.loads(done.stdout)
    assert (about["variant"], about["images"], about["skipped"]) == ("int8", 12, 0)
    base, kept = small_file("float32"), tmp_path / "predictions.npz"
    arguments = ["drift", kept, "--baseline", base, "--data", data, "--split", "all", "--json"]
    compared = CliRunner().invoke(bench, list(map(str, arguments)))
    assert compared.exit_code == 0, compared.output
    (comparison,) = json.loads(compared.stdout)["comparisons"]
    assert comparison["other"]["model"]["runtime"] == "ai-edge-litert"


@pytest.mark.parametrize(
    ("runtime", "kind", "message"),
    [
        ("tflite-runtime", DataError, "needs the Python of an environment with .*: name it with --tflite-runtime$"),
        ("LiteRT.js", DataError, "name it with --browser$"),
        (
            "abacus",
            ModelError,
            r"other\.tflite: was made for an unknown runtime, 'abacus'\. Known runtimes: ai-edge",
        ),
    ],
)
def test_a_missing_runtime_is_refused_before_anything_is_written(
    runtime: str, kind: type[SpotError], message: str, made_for, data: Path, tmp_path: Path
) -> None:
    done = predict(made_for(runtime), "--data", data, "--out", tmp_path / "out")
    assert isinstance(done.exception, kind)
    assert re.search(message, str(done.exception))
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named_with_how_to_install_it(made_for, data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "spot_convert.runtimes.micro.kernels", None)  # as if the interpreter were missing
    done = predict(made_for("tflite-micro"), "--data", data, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert re.search(r"is not installed\. Install it .*'\.\[convert\]'", " ".join(done.output.split()))


def test_bad_input_is_reported_in_one_line(small_file: Callable[[str], Path], data: Path, tmp_path: Path) -> None:
    good = small_file("int8")
    (tmp_path / "broken.tflite").write_bytes(good.read_bytes()[:-9])
    (tmp_path / "others" / "star").mkdir(parents=True)
    (tmp_path / "others" / "star" / "a.jpg").write_bytes(next(data.glob("*/*")).read_bytes())
    (tmp_path / "spoilt" / "circle").mkdir(parents=True)
    (tmp_path / "spoilt" / "circle" / "a.jpg").write_bytes(b"not an image")
    for arguments, kind, message in (
        ([tmp_path / "none.tflite", "--data", data], ModelError, "none.tflite: .*No such file"),
        ([tmp_path / "broken.tflite", "--data", data], ModelError, "broken.tflite: no spot-edge digest"),
        ([good, "--data", tmp_path / "none"], DataError, "none: no such file or folder"),
        ([good, "--data", tmp_path / "others"], DataError, "does not have the labels star"),
        ([good, "--data", tmp_path / "spoilt"], DataError, "1 of 1 images .* cannot be classified"),
    ):
        done = predict(*arguments, "--out", tmp_path / "out")
        assert isinstance(done.exception, kind), done.output
        assert re.fullmatch(f".*{message}.*", str(done.exception))  # "." matches no line break
        assert done.stdout == ""
        assert not list((tmp_path / "out").glob("*"))


def test_one_image_in_a_hundred_may_be_bad_in_a_slower_runtime(
    small_file: Callable[[str], Path], data: Path, tmp_path: Path, monkeypatch
) -> None:
    """Of all images, not of those that one processor gets."""
    monkeypatch.setattr(kernels, "micro_version", lambda: "0")
    monkeypatch.setattr(kernels, "default_threads", lambda: 4)
    images = sorted(data.glob("*/*"))
    for number in range(120):
        place = tmp_path / "many" / images[number % 12].parent.name / f"{number:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"not an image" if number == 60 else images[number % 12].read_bytes())
    model, images = read_model(small_file("int8")), read_manifest(tmp_path / "many")
    found = kernels.micro_predictions(model, images, lambda count: None)
    assert (len(found.truth), len(found.skipped)) == (119, 1)
    assert found.images.tolist() == [images.name(item) for item in images.items if "060" not in item.image.name]
    few = dataclasses.replace(images, items=tuple(item for item in images.items if item.image.stem > "050"))
    with pytest.raises(DataError, match="1 of 69 images"):
        kernels.micro_predictions(model, few, lambda count: None)


def test_an_existing_file_is_not_overwritten(small_file: Callable[[str], Path], data: Path, tmp_path: Path) -> None:
    (tmp_path / "predictions.npz").write_bytes(b"mine")
    done = predict(small_file("int8"), "--data", data, "--out", tmp_path)
    assert isinstance(done.exception, OutputError)
    assert (tmp_path / "predictions.npz").read_bytes() == b"mine"
    assert predict(small_file("int8"), "--data", data).exit_code == 2
