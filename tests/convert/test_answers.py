"""`spot-edge answers`: a file's answers in the runtime that it was made for, and where they cannot be had.

Those of other runtimes are asked for by `make check TARGET=micro`, `make check TARGET=browser` and `make check TARGET=targets`, where these are.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from spot_bench.commands.bench import bench
from spot_bench.data.drawn import draw_shapes
from spot_bench.data.manifest import read_manifest
from spot_bench.data.predictions import load_predictions
from spot_convert.commands.convert import answers
from spot_convert.runtimes.micro import kernels as judging
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
def made_for(shapes_family: Path, tmp_path: Path):
    """made_for(runtime): the int8 file, saying that it was judged there."""

    def make(runtime: str) -> Path:
        model = read_model(shapes_family / "shapes-int8.tflite")
        file = tmp_path / "elsewhere.tflite"
        spec = model.spec._replace(measured_in=MeasuredIn(runtime, "1"))
        file.write_bytes(seal(flatbuffer_of(model), spec))
        return file

    return make


def ask(*arguments: object) -> Result:
    return CliRunner().invoke(answers, [str(argument) for argument in (*arguments, "--split", "all")])


def test_in_the_devices_own_runtime_they_are_those_of_bench_predict(
    shapes_family: Path, data: Path, tmp_path: Path
) -> None:
    model = shapes_family / "shapes-int8.tflite"
    done = ask(model, "--data", data, "--out", tmp_path / "own")
    assert (done.exit_code, done.exception) == (0, None)
    assert f"{tmp_path / 'own' / 'predictions.npz'}: 12 images, 0 skipped, in ai-edge-litert" in done.output
    told = ["predict", model, "--data", data, "--split", "all", "--out", tmp_path / "bench", "--threads", "1"]
    assert CliRunner().invoke(bench, list(map(str, told))).exit_code == 0
    own, theirs = (load_predictions(tmp_path / name / "predictions.npz") for name in ("own", "bench"))
    np.testing.assert_allclose(own.scores, theirs.scores, atol=1e-6)
    assert (own.images.tolist(), own.model) == (theirs.images.tolist(), theirs.model)
    assert own.embeddings is None


def test_as_json_and_into_drift(shapes_family: Path, data: Path, tmp_path: Path) -> None:
    model = shapes_family / "shapes-int8.tflite"
    done = ask(model, "--data", data, "--out", tmp_path, "--json")
    about = json.loads(done.stdout)
    assert (about["variant"], about["images"], about["skipped"]) == ("int8", 12, 0)
    base, kept = shapes_family / "shapes-float32.tflite", tmp_path / "predictions.npz"
    told = ["drift", kept, "--baseline", base, "--data", data, "--split", "all", "--json"]
    compared = CliRunner().invoke(bench, list(map(str, told)))
    assert compared.exit_code == 0, compared.output
    (comparison,) = json.loads(compared.stdout)["comparisons"]
    assert comparison["other"]["model"]["runtime"] == "ai-edge-litert"


@pytest.mark.parametrize(
    ("runtime", "kind", "said"),
    [
        ("tflite-runtime", DataError, "name the Python of an environment with .* with --tflite-runtime$"),
        ("LiteRT.js", DataError, "name it with --browser$"),
        ("abacus", ModelError, r"elsewhere\.tflite: was made for 'abacus': known are ai-edge-litert, tflite-runtime,"),
    ],
)
def test_a_runtime_that_is_not_here_is_refused_before_anything_is_done(
    runtime: str, kind: type[SpotError], said: str, made_for, data: Path, tmp_path: Path
) -> None:
    done = ask(made_for(runtime), "--data", data, "--out", tmp_path / "out")
    assert isinstance(done.exception, kind)
    assert re.search(said, str(done.exception))
    assert not (tmp_path / "out").exists()


def test_without_what_it_needs_it_says_what_to_install(made_for, data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "spot_convert.runtimes.micro.kernels", None)  # as where the interpreter is missing
    done = ask(made_for("tflite-micro"), "--data", data, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "is not installed here: pip install 'spot-edge-toolkit[convert]'" in done.output


def test_bad_input_is_one_line_and_the_code_of_the_table(shapes_family: Path, data: Path, tmp_path: Path) -> None:
    good = shapes_family / "shapes-int8.tflite"
    (tmp_path / "broken.tflite").write_bytes(good.read_bytes()[:-9])
    (tmp_path / "others" / "star").mkdir(parents=True)
    (tmp_path / "others" / "star" / "a.jpg").write_bytes(next(data.glob("*/*")).read_bytes())
    (tmp_path / "spoilt" / "circle").mkdir(parents=True)
    (tmp_path / "spoilt" / "circle" / "a.jpg").write_bytes(b"no picture")
    for arguments, code, said in (
        ([tmp_path / "none.tflite", "--data", data], 4, "none.tflite: model file cannot be read"),
        ([tmp_path / "broken.tflite", "--data", data], 4, "broken.tflite: no spot-edge digest"),
        ([good, "--data", tmp_path / "none"], 7, "none: no such file or folder"),
        ([good, "--data", tmp_path / "others"], 7, "does not have the labels star"),
        ([good, "--data", tmp_path / "spoilt"], 7, "1 of 1 images .* cannot be classified"),
    ):
        out = tmp_path / "out"
        told = [*arguments, "--split", "all", "--out", out]
        command = [sys.executable, "-m", "spot_edge.cli", "answers", *map(str, told)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        last = ended.stderr.splitlines()[-1]
        assert (ended.returncode, ended.stdout) == (code, ""), ended.stderr
        assert re.search(f"^spot-edge: .*{said}", last)
        assert not list(out.glob("*"))


def test_of_the_images_of_a_slower_runtime_one_in_a_hundred_may_be_bad(
    shapes_family: Path, data: Path, tmp_path: Path, monkeypatch
) -> None:
    """Of all of them, that is, and not of those that fall to one processor."""
    monkeypatch.setattr(judging, "micro_version", lambda: "0")
    monkeypatch.setattr(judging, "default_threads", lambda: 4)
    pictures = sorted(data.glob("*/*"))
    for number in range(120):
        place = tmp_path / "many" / pictures[number % 12].parent.name / f"{number:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"no picture" if number == 60 else pictures[number % 12].read_bytes())
    model, images = read_model(shapes_family / "shapes-int8.tflite"), read_manifest(tmp_path / "many")
    found = judging.micro_predictions(model, images, lambda count: None)
    assert (len(found.truth), len(found.skipped)) == (119, 1)
    assert found.images.tolist() == [images.name(item) for item in images.items if "060" not in item.image.name]
    few = dataclasses.replace(images, items=tuple(item for item in images.items if item.image.stem > "050"))
    with pytest.raises(DataError, match="1 of 69 images"):
        judging.micro_predictions(model, few, lambda count: None)


def test_what_is_there_is_not_written_over(shapes_family: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "predictions.npz").write_bytes(b"mine")
    done = ask(shapes_family / "shapes-int8.tflite", "--data", data, "--out", tmp_path)
    assert isinstance(done.exception, OutputError)
    assert (tmp_path / "predictions.npz").read_bytes() == b"mine"
    assert ask(shapes_family / "shapes-int8.tflite", "--data", data).exit_code == 2
