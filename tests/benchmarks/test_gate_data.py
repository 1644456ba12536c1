"""Further images for the drift gate: labelled ones join, unlabelled ones count for flips, used ones stay out."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import spot_edge
from spot_bench.commands.bench import bench
from spot_bench.data.drawn import draw_lesion, encode_jpeg
from spot_bench.data.further import joined, read_further, read_unlabelled, refuse_used
from spot_bench.data.manifest import read_manifest
from spot_bench.data.predictions import Predictions, save_predictions
from spot_bench.drift.comparison import compare
from spot_bench.drift.gate import PRESETS
from spot_bench.drift.report import drift_report
from spot_bench.stats.calibration import softmax
from spot_edge.errors import CheckError, DataError

EMBEDDED = Path(spot_edge.__file__).parent / "models" / "spot-int8.tflite"
LABELS = ("bkl", "mel", "nv")


def listed(path: Path, *rows: str, header: str = "image,label,group,split") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def predictions(images: list[str], labels: list[int], *, shift: float = 0.0) -> Predictions:
    truth = np.array(labels)
    logits = np.eye(3)[truth] * 4 - np.array([0, shift, 0])
    return Predictions(
        labels=LABELS,
        truth=truth,
        scores=softmax(logits).astype(np.float32),
        logits=logits.astype(np.float32),
        groups=np.array([image.removesuffix(".jpg") for image in images]),
        images=np.array(images),
        model={"name": "toy", "variant": "int8" if shift else "float32"},
        malignant=(False, True, False),
    )


def test_data_sets_are_joined_under_their_common_folder(tmp_path: Path) -> None:
    first = read_manifest(listed(tmp_path / "a" / "a.csv", "x.jpg,nv,g1,val"), check_files=False)
    second = read_manifest(listed(tmp_path / "b" / "b.csv", "x.jpg,mel,g2,val"), check_files=False)
    both = joined([first, second])
    assert [both.name(item) for item in both.items] == ["a/x.jpg", "b/x.jpg"]
    assert both.origin == first.origin
    assert joined([first]) is first
    with pytest.raises(DataError, match=r"x\.jpg is in .*a\.csv as well"):
        joined([first, replace(first, origin=Path("again.csv"))])


def test_further_data_leave_out_what_was_used(tmp_path: Path) -> None:
    rows = ["a.jpg,nv,a,train", "b.jpg,nv,b,val", "c.jpg,nv,c,calibrate", "d.jpg,nv,d,test"]
    path = listed(tmp_path / "more.csv", *rows)
    kept = partial(read_further, path, check_files=False)
    assert [item.group for item in kept().items] == ["b", "d"]
    assert [item.group for item in kept("all").items] == ["a", "b", "d"]
    assert [item.group for item in kept("val").items] == ["b"]
    with pytest.raises(DataError, match="calibration images set the ranges of int8 files"):
        kept("calibrate")
    with pytest.raises(DataError, match="all its images are of training or calibration"):
        read_further(listed(tmp_path / "used.csv", rows[0], rows[2]), check_files=False)
    plain = listed(tmp_path / "plain.csv", "e.jpg,nv", header="image,label")
    assert len(read_further(plain, "val", check_files=False).items) == 1  # not split: every image


@pytest.mark.parametrize("row", ["c.png,mel,other,", "C_downsampled.jpg,mel,other,", "z.jpg,mel,c-lesion,"])
def test_images_and_lesions_that_were_used_are_refused(tmp_path: Path, row: str) -> None:
    data = read_manifest(
        listed(tmp_path / "data.csv", "c.jpg,nv,c-lesion,calibrate", "v.jpg,nv,v-lesion,val"), check_files=False
    )
    further = read_manifest(listed(tmp_path / "more.csv", row), check_files=False)
    with pytest.raises(DataError, match=r"belongs to calibrate in .*data\.csv"):
        refuse_used(further, data)
    refuse_used(read_manifest(listed(tmp_path / "ok.csv", "v.jpg,nv,v-lesion,"), check_files=False), data)


@pytest.mark.parametrize("option", ["--data", "--unlabelled"])
def test_bench_drift_refuses_what_a_source_of_the_run_trained_on(tmp_path: Path, option: str) -> None:
    (tmp_path / "sources").mkdir()
    for name in ("a.jpg", "s.jpg"):
        (tmp_path / name).write_bytes(encode_jpeg(draw_lesion(0, 40, 30)))
    data = listed(tmp_path / "split.csv", "a.jpg,nv,a-lesion,val")
    listed(tmp_path / "sources" / "more.csv", "S.png,nv,,train")
    further = listed(tmp_path / "further.csv", "s.jpg,nv,s-lesion,")
    options = ["--baseline", EMBEDDED, "--data", data, "--split", "val", option, further]
    done = CliRunner().invoke(bench, ["drift", str(EMBEDDED), *map(str, options)])
    assert isinstance(done.exception, DataError), done.output
    assert f"s.jpg belongs to train in {tmp_path / 'sources' / 'more.csv'}" in str(done.exception)


def test_unlabelled_images_come_from_a_folder_or_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.jpg").write_bytes(encode_jpeg(draw_lesion(0, 40, 30)))
    found = read_unlabelled(tmp_path, "nv")
    assert [(item.image.name, item.label, item.group) for item in found.items] == [("a.jpg", "nv", "deep/a.jpg")]
    path = listed(tmp_path / "u.csv", "deep/a.jpg,unknown,lesion 1,calibrate")
    with pytest.raises(DataError, match="all its images are of training or calibration"):
        read_unlabelled(path, "nv")
    path = listed(tmp_path / "u.csv", "deep/a.jpg,unknown,lesion 1,test")
    assert [(item.label, item.group) for item in read_unlabelled(path, "nv").items] == [("nv", "lesion 1")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        read_unlabelled(tmp_path / "empty", "nv")


def test_unlabelled_images_count_for_flips_alone() -> None:
    images, labels = [f"{row}.jpg" for row in range(60)], [row % 3 for row in range(60)]
    first, other = predictions(images, labels), predictions(images, labels, shift=9)
    more = [f"u{row}.jpg" for row in range(30)]
    pair = (predictions(more, [1] * 20 + [2] * 10), predictions(more, [1] * 20 + [2] * 10, shift=9))
    alone, joint = compare(first, other, draws=20), compare(first, other, draws=20, unlabelled=pair)
    assert alone["exact"]["recall"] == joint["exact"]["recall"]
    assert (alone["exact"]["flips"]["all"]["flipped"], alone["exact"]["flips"]["all"]["lesions"]) == (20, 60)
    flips = joint["exact"]["flips"]["all but nv"]
    assert (flips["flipped"], flips["lesions"]) == (20 + 20, 40 + 20)  # not those that the baseline calls nv
    assert flips["unlabelled"] == {"flipped": 20, "lesions": 20}
    assert joint["exact"]["flips"]["all"]["unlabelled"] == {"flipped": 20, "lesions": 30}
    assert {key for key in joint if joint[key] != alone[key]} == {"exact"}
    with pytest.raises(DataError, match="not run on the same unlabelled images"):
        compare(first, other, draws=20, unlabelled=(pair[0], predictions(more[:5], [1] * 5)))


def test_malignant_recall_counts_lesions_that_turn_benign() -> None:
    images, labels = [f"{row}.jpg" for row in range(60)], [row % 3 for row in range(60)]
    first, other = predictions(images, labels), predictions(images, labels, shift=9)
    found = compare(first, other, draws=20)["exact"]["malignant_recall"]
    assert (found["lost"], found["gained"], found["lesions"]) == (20, 0, 20)
    benign = replace(first, malignant=(False, False, False))
    assert compare(benign, benign, draws=20)["exact"]["malignant_recall"] is None


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(bench, [str(argument) for argument in arguments])


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Predictions of a good and a bad model for two data sets of one folder, and these data sets."""
    monkeypatch.setattr("spot_bench.drift.report.drift_report", partial(drift_report, draws=20))
    rows = [f"{row}.jpg,{LABELS[row % 3]},{row},val" for row in range(30)]
    listed(tmp_path / "a" / "a.csv", *rows)
    listed(tmp_path / "b" / "b.csv", *(row.rsplit(",", 1)[0] + "," for row in rows[:12]))
    images = [*(f"a/{row}.jpg" for row in range(30)), *(f"b/{row}.jpg" for row in range(12))]
    labels = [row % 3 for row in (*range(30), *range(12))]
    save_predictions(predictions(images, labels), tmp_path / "good.npz")
    save_predictions(predictions(images, labels, shift=9), tmp_path / "bad.npz")
    return tmp_path


def test_repeated_data_join_in_one_report(saved: Path) -> None:
    models = (saved / "bad.npz", "--baseline", saved / "good.npz", "--split", "val")
    data = ("--data", saved / "a" / "a.csv", "--data", saved / "b" / "b.csv")
    done = run("drift", *models, *data, "--json", "--fail-on", "undecided", "--margins", "screening")
    report = json.loads(done.stdout)
    assert report["data"] == {"name": "a.csv + b.csv", "split": "val", "images": 42}
    assert report["margins"]["preset"] == "screening"
    names = [criterion["name"] for criterion in report["comparisons"][0]["verdict"]["criteria"]]
    assert names == ["malignant recall", "top-1 flips, all but nv", "macro AUC", "ECE"]
    assert isinstance(done.exception, CheckError)
    assert "malignant recall: 14 lost, 0 gained of 14: at least" in str(done.exception)
    assert "\n" not in str(done.exception)
    assert isinstance(run("drift", *models, *data[:2]).exception, DataError)  # they were made on both


def test_roots_belong_to_their_data(saved: Path) -> None:
    models = (saved / "bad.npz", "--baseline", saved / "good.npz", "--split", "val")
    data = [part for name in "ab" for part in ("--data", saved / f"{name}.csv", "--root", saved / name)]
    for name in "ab":
        (saved / f"{name}.csv").write_text((saved / name / f"{name}.csv").read_text())
    assert run("drift", *models, *data).exit_code == 0
    done = run("drift", *models, *data[:4], "--root", saved)
    assert done.exit_code == 2
    assert "more --root than --data" in done.stderr


def test_calibration_images_are_left_out_of_all_images(saved: Path) -> None:
    rows = (saved / "a" / "a.csv").read_text().replace("29.jpg,nv,29,val", "29.jpg,nv,29,calibrate")
    (saved / "a" / "a.csv").write_text(rows)
    labels = [row % 3 for row in range(30)]
    for name, shift in (("good", 0.0), ("bad", 9.0)):
        save_predictions(predictions([f"{row}.jpg" for row in range(30)], labels, shift=shift), saved / f"{name}.npz")
    arguments = ("drift", saved / "bad.npz", "--baseline", saved / "good.npz", "--data", saved / "a" / "a.csv")
    done = run(*arguments, "--split", "all", "--json")
    assert done.stderr == "1 calibration images are left out, because they set the ranges of int8 files\n"
    report = json.loads(done.stdout)
    assert report["data"]["images"] == report["comparisons"][0]["baseline"]["images"] == 29
    assert isinstance(run(*arguments, "--split", "calibrate").exception, DataError)


def test_saved_predictions_have_no_unlabelled_images(saved: Path) -> None:
    arguments = ("drift", saved / "bad.npz", "--baseline", saved / "good.npz", "--data", saved / "a" / "a.csv")
    done = run(*arguments, "--unlabelled", saved)
    assert done.exit_code == 2
    assert "--unlabelled needs model files" in done.stderr


def test_a_model_runs_on_unlabelled_images(tmp_path: Path) -> None:
    for folder, seeds in (("nv", range(2)), ("mel", range(2, 4)), ("more", range(4, 7))):
        (tmp_path / folder).mkdir()
        for seed in seeds:
            (tmp_path / folder / f"{seed}.jpg").write_bytes(encode_jpeg(draw_lesion(seed, 120, 90)))
    rows = [f"{label}/{seed}.jpg,{label}" for label, seeds in (("nv", (0, 1)), ("mel", (2, 3))) for seed in seeds]
    data = listed(tmp_path / "data.csv", *rows, header="image,label")
    models = (EMBEDDED, "--baseline", EMBEDDED, "--data", data, "--split", "all", "--out", tmp_path / "out", "--json")
    done = run("drift", *models, "--unlabelled", tmp_path / "more")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["data"] == {"name": "data.csv", "split": "all", "images": 4, "unlabelled": 3}
    assert report["comparisons"][0]["exact"]["flips"]["all"]["lesions"] == 4 + 3
    written = {path.name for path in (tmp_path / "out").glob("*.npz")}
    assert written == {f"{name}-{number}-int8.npz" for name in ("predictions", "unlabelled") for number in (0, 1)}


def test_the_choices_of_the_command_line_are_the_presets() -> None:
    (margins,) = [option for option in bench.commands["drift"].params if option.name == "preset"]
    assert list(margins.type.choices) == list(PRESETS)  # type: ignore[attr-defined]
