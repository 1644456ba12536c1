"""The JSON Schemas accept what the commands of `bench` write, and reject changes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner

import spot_edge
from spot_bench.commands.bench import bench
from spot_bench.data.drawn import draw_lesion, encode_jpeg
from spot_bench.robustness import quality
from spot_edge.errors import CheckError

EMBEDDED = Path(spot_edge.__file__).parent / "models" / "spot-int8.tflite"

Validate: TypeAlias = Callable[[str, Any], Any]
JsonOf: TypeAlias = Callable[..., Any]


def test_drift(
    validate: Validate,
    json_of: JsonOf,
    files: tuple[Path, Path],
    shapes_family: Path,
    images: tuple[object, ...],
    work: Path,
) -> None:
    latency = validate(
        "latency",
        json_of(
            bench, "latency", *files, "--samples", 6, "--seconds", 0, "--cold", 1, "--threads", 1, "--out", work / "t"
        ),
    )
    assert latency["models"][0]["against_float32"]
    validate("compare", json_of(bench, "compare", work / "t" / "report.json", work / "t" / "report.json"))
    dynamic = shapes_family / "shapes-dynamic.tflite"
    (work / "more").mkdir()
    for seed in range(3):
        (work / "more" / f"{seed}.jpg").write_bytes(encode_jpeg(draw_lesion(seed, 120, 90)))
    options = ("--baseline", files[1], *images, "--latency", work / "t" / "report.json", "--out", work / "drift")
    options = (*options, "--unlabelled", work / "more", "--margins", "any-images")
    report = validate("drift", json_of(bench, "drift", files[0], dynamic, *options))
    assert report["data"]["unlabelled"] == 3
    assert report["margins"]["preset"] == "any-images"
    assert report == json.loads((work / "drift" / "report.json").read_text())
    assert report["comparisons"][0]["subgroups"]


def test_predict(
    validate: Validate, json_of: JsonOf, files: tuple[Path, Path], images: tuple[object, ...], work: Path
) -> None:
    validate("predict", json_of(bench, "predict", files[0], *images, "--out", work / "predictions"))


def test_external(validate: Validate, json_of: JsonOf, files: tuple[Path, Path], images: tuple[object, ...]) -> None:
    validate("external", json_of(bench, "external", files[0], *images, "--positive", "circle", "--class", "square"))


def test_robustness(validate: Validate, json_of: JsonOf, files: tuple[Path, Path], images: tuple[object, ...]) -> None:
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


def test_burst(validate: Validate, json_of: JsonOf, lesions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spot_bench.robustness import bursts

    monkeypatch.setattr(bursts, "measure_bursts", partial(bursts.measure_bursts, repeats=2, within=1.0))
    validate("burst", json_of(bench, "burst", EMBEDDED, "--data", lesions, "--split", "all", "--burst", 2))


def test_quality(validate: Validate, json_of: JsonOf, lesions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "DRAWN", 2)
    options = ("--data", lesions, "--split", "all", "--images", 2, "--other", f"again={lesions / 'nv'}")
    assert len(validate("quality", json_of(bench, "quality", EMBEDDED, *options))["others"]) > 1


def test_overhead(validate: Validate) -> None:
    from spot_bench.speed.overhead import measure_overhead

    validate("overhead", measure_overhead(calls=2, stills=1, processes=1))


def test_folder(validate: Validate, json_of: JsonOf, lesions: Path, files: tuple[Path, Path]) -> None:
    validate("folder", json_of(bench, "folder", lesions, "--model", files[0], "--repeats", 2))


def test_soak(validate: Validate, files: tuple[Path, Path], shapes: Path) -> None:
    """On a busy machine the limits may be exceeded, which does not matter here."""
    arguments = ["soak", str(next(shapes.rglob("*.jpg"))), "--images", "800", "--model", str(files[0]), "--json"]
    done = CliRunner().invoke(bench, arguments)
    assert done.exception is None or isinstance(done.exception, CheckError)
    validate("soak", json.loads(done.stdout.splitlines()[-1]))
