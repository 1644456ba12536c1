"""Further images of the drift gate: which are read, and that they decide the verdict of a conversion."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from spot_bench.data.drawn import draw_shapes
from spot_bench.data.manifest import read_manifest
from spot_convert.commands.convert import convert
from spot_convert.images import GATE, UNLABELLED, EvaluationImages, gate_images
from spot_convert.run import Run
from spot_edge import read_model
from spot_edge.errors import CheckError, DataError


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four new images per class, in class folders, with names that no image of the run has."""
    folder = tmp_path_factory.mktemp("more")
    draw_shapes(folder, per_class=4, seed=77)
    for image in list(folder.rglob("*.*")):
        image.rename(image.with_name(f"more-{image.parent.name}-{image.name}"))
    return folder


def test_the_recipe_names_sets_and_the_command_line_says_where_they_are(run: Run, more: Path, tmp_path: Path) -> None:
    (tmp_path / "tone.png").write_bytes(next(more.rglob("more-circle-*")).read_bytes())
    named = dataclasses.replace(run, margins=dataclasses.replace(run.margins, data=("apart",), unlabelled=("tones",)))
    with pytest.raises(DataError, match=r"the recipe's gate uses 'apart': add --gate-data apart=MANIFEST"):
        gate_images(named, {}, {"tones": more})
    with pytest.raises(DataError, match=r"uses 'tones': add --gate-unlabelled tones=MANIFEST"):
        gate_images(named, {"apart": more}, {})
    found = gate_images(named, {"apart": more}, {"tones": tmp_path})
    assert (len(found.labelled), len(found.unlabelled)) == (12, 1)


def test_the_gate_refuses_other_classes_used_images_and_repeats(run: Run, more: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    image = next(more.rglob("more-circle-*"))
    other.write_text(f"image,label\n{image},hexagon\n")
    with pytest.raises(DataError, match="'hexagon' is none of the run's classes, circle, square, triangle"):
        gate_images(run, {"other": other}, {})
    used = run.manifest.split("calibrate").items[0]
    other.write_text(f"image,label\n{used.image},{used.label}\n")
    with pytest.raises(DataError, match="belongs to calibrate"):
        gate_images(run, {"other": other}, {})
    own = run.manifest.split("val").items[0]
    other.write_text(f"image,label\n{own.image},{own.label}\n")
    with pytest.raises(DataError, match="as well"):
        gate_images(run, {"other": other}, {})


def test_the_gate_refuses_what_a_source_trained_on(run: Run, more: Path) -> None:
    source = read_manifest(more)
    taught = dataclasses.replace(source, items=(dataclasses.replace(source.items[0], split="train"),))
    with pytest.raises(DataError, match="belongs to train"):
        gate_images(dataclasses.replace(run, sources=(taught,)), {"more": more}, {})


def test_further_images_stay_for_slow_runtimes(run: Run, more: Path) -> None:
    calibration = run.manifest.split("calibrate").items
    images = EvaluationImages.of(run.manifest, calibration, gate_images(run, {"more": more / "."}, {}))
    assert len(images.names[GATE]) == len(images.reduced().names[GATE]) == 12
    assert images.names[UNLABELLED] == frozenset()
    assert images.names[GATE] <= {images.manifest.name(item) for item in images.reduced().manifest.items}


def test_further_images_decide_and_the_table_says_what_is_needed(small_run: Path, more: Path, tmp_path: Path) -> None:
    rows = [f"{image},{image.parent.name}" for image in sorted(more.rglob("more-*")) if image.parent.name != "circle"]
    (tmp_path / "more.csv").write_text("\n".join(["image,label", *rows]) + "\n")
    out = tmp_path / "out"
    options = ["--variants", "dynamic", "--margins", "any-images", "--gate-data", f"more={tmp_path / 'more.csv'}"]
    options += ["--gate-unlabelled", f"folder={more / 'circle'}", "--out", str(out)]
    done = CliRunner().invoke(convert, [str(small_run), *options])
    assert done.exception is None or isinstance(done.exception, CheckError), done.output
    drift = read_model(next(out.rglob("small-dynamic.tflite"))).spec.drift
    assert drift is not None
    assert drift.measured_on == "validation + more + folder"
    report = json.loads((out / "report.json").read_text())
    (entry,) = report["files"]
    assert report["margins"]["preset"] == "any-images"
    validation = sum(line.endswith(",val") for line in (small_run / "split.csv").read_text().splitlines())
    assert entry["comparison_on_validation"]["agreement"]["all"]["n"] == validation + 8
    flips = entry["comparison_on_validation"]["exact"]["flips"]["all"]
    assert (flips["lesions"], flips["unlabelled"]["lesions"]) == (validation + 12, 4)
    assert "measured on validation + more + folder" in done.output
    assert ("groups would decide" in done.output) == (drift.verdict == "undecided")
    assert "Add labelled images with --gate-data NAME=MANIFEST" in done.output or drift.verdict != "undecided"


@pytest.mark.parametrize("pair", ["more", "=x", "more="])
def test_a_set_without_a_name_or_path_is_refused(pair: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(convert, [str(tmp_path), "--out", str(tmp_path / "out"), "--gate-data", pair])
    assert done.exit_code == 2
    assert f"{pair!r} is not NAME=PATH" in done.output
