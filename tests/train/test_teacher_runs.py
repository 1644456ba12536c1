"""What a run takes from its teachers' runs: they must not leak, and must not change under an unfinished training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spot_bench.data.manifest import Manifest, read_manifest
from spot_edge.errors import DataError
from spot_train.labels.labelset import plain_label_set
from spot_train.loop.teachers import check_teachers
from spot_train.recipes.recipe import Train

LABELS = plain_label_set(["mel", "nv"])


def listed(path: Path, *rows: str) -> Manifest:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["image,label,group,split", *rows]) + "\n")
    return read_manifest(path, check_files=False)


def teacher(folder: Path, *rows: str) -> Path:
    """Write what a finished run says about its classes and its training images."""
    listed(folder / "split.csv", *rows)
    labels = [{"label": label.label} for label in LABELS.labels]
    (folder / "run.json").write_text(json.dumps({"schema": 1, "labels": labels}))
    return folder


@pytest.mark.parametrize("split", ["val", "calibrate", "test"])
@pytest.mark.parametrize("row", ["elsewhere/H_DOWNSAMPLED.png,mel,,train", "other.jpg,mel,h-lesion,train"])
def test_a_teacher_that_trained_on_held_out_images_is_refused(tmp_path: Path, split: str, row: str) -> None:
    data = listed(tmp_path / "data.csv", "t.jpg,nv,t-lesion,train", f"h.jpg,mel,h-lesion,{split}")
    train = Train(teachers=(str(teacher(tmp_path / "run", "t.jpg,nv,t-lesion,train", row)),))
    with pytest.raises(
        DataError, match=rf"1 leak: teacher .*run may train on .* h\.jpg \({split}, data\.csv\)"
    ) as caught:
        check_teachers(train, LABELS, data)
    assert "\n" not in str(caught.value)


def test_a_teacher_with_the_same_split_fits(tmp_path: Path) -> None:
    rows = "t.jpg,nv,t-lesion,train", "v.jpg,mel,v-lesion,val", "h.jpg,mel,h-lesion,test"
    train = Train(teachers=(str(teacher(tmp_path / "run", *rows)),))
    check_teachers(train, LABELS, listed(tmp_path / "data.csv", *rows))
