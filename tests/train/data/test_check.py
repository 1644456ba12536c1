"""`spot-edge data check`: all problems at once, errors apart from warnings."""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from spot_edge.errors import DataError
from spot_train.commands import data as cli
from spot_train.data import check as module
from spot_train.data import images as looks_module
from spot_train.data.images import BITS, THRESHOLD, looks, near_pairs

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, jpegs: list[bytes]) -> Make:
    """Writes a manifest from `image,label,group,split` lines; image names that end in a number are that picture."""

    def write(*lines: str, header: str = "image,label,group,split") -> Path:
        for line in lines:
            name = line.split(",")[0]
            stem = Path(name).stem
            if stem.isdigit():
                (tmp_path / name).write_bytes(jpegs[int(stem)])
        path = tmp_path / "data.csv"
        path.write_text("\n".join([header, *lines, ""]))
        return path

    return write


def run(path: Path, *options: str) -> Result:
    return CliRunner().invoke(cli.data, ["check", str(path), *options])


def found(path: Path, *options: str) -> list[tuple[str, str, str]]:
    report = json.loads(run(path, *options, "--json").stdout)
    return [(finding["severity"], finding["kind"], finding["text"]) for finding in report["findings"]]


def only(path: Path, kind: str, *options: str) -> list[tuple[str, str]]:
    return [(severity, text) for severity, its, text in found(path, *options) if its == kind]


SOUND = ("0.jpg,a,A,train", "1.jpg,b,B,train", "2.jpg,a,C,val", "3.jpg,b,D,val")


def test_a_sound_set_has_only_warnings_of_few(make: Make) -> None:
    result = run(make(*SOUND))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "label    share  images (groups)  train    val",
        "a       50.0 %            2 (2)  1 (1)  1 (1)",
        "b       50.0 %            2 (2)  1 (1)  1 (1)",
        "all    100.0 %            4 (4)  2 (2)  2 (2)",
        "",
        "warning: label 'a' has 2 images of 2 groups: with fewer than 20 groups a split leaves parts without it, and "
        "figures on it say little",
        "warning: label 'b' has 2 images of 2 groups: with fewer than 20 groups a split leaves parts without it, and "
        "figures on it say little",
        "0 errors, 2 warnings",
    ]
    assert result.stderr == ""


def test_all_problems_are_listed_and_it_ends_as_a_data_error(make: Make, tmp_path: Path) -> None:
    path = make(
        *SOUND,
        "4.jpg,,E,train",
        "4.jpg,a,E,somewhere",
        "4.jpg,a,E,train,too,much",
        "0.jpg,a,A,train",
        "5.jpg,a,F,train",
        "6.jpg,a,F,test",
        "gone.jpg,a,G,train",
        "hurt.jpg,b,H,train",
        "empty.jpg,b,I,train",
    )
    (tmp_path / "hurt.jpg").write_bytes((tmp_path / "0.jpg").read_bytes()[:900])
    (tmp_path / "empty.jpg").touch()
    result = run(path)
    assert isinstance(result.exception, DataError)
    assert result.exception.exit_code == 7
    assert str(result.exception) == f"{path}: cannot be used as it is: 8 errors"
    errors = [line for line in result.stdout.splitlines() if line.startswith("error: ")]
    for text in (
        "line 6: has no label", "line 7: unknown split 'somewhere'", "line 8: 6 values for 4 columns",
        "0.jpg twice", "group 'F' is in both train and test", "gone.jpg: no such file", "hurt.jpg: damaged",
        "empty.jpg: empty",
    ):  # fmt: skip
        assert sum(text in line for line in errors) == 1, text
    assert len(errors) == 8
    assert run(path).stdout == result.stdout


def test_the_same_file_again(make: Make, tmp_path: Path) -> None:
    path = make("0.jpg,a,A,train", "1.jpg,b,B,train", "2.jpg,a,C,val", "3.jpg,b,D,val")
    text = path.read_text()
    for name, of, row in (
        ("w", 0, "b,X,train"), ("x", 1, "b,B,val"), ("y", 2, "a,Y,val"), ("z", 3, "b,D,val"),
    ):  # fmt: skip
        (tmp_path / f"{name}.jpg").write_bytes((tmp_path / f"{of}.jpg").read_bytes())
        text += f"{name}.jpg,{row}\n"
    path.write_text(text.replace("x.jpg,b,B,", "x.jpg,b,X2,"))
    assert only(path, "duplicates") == [
        ("error", "one file under the labels a and b: 0.jpg, w.jpg"),
        ("error", "one file in the parts train and val: 1.jpg, x.jpg"),
        ("warning", "one file in 2 groups: 2.jpg, y.jpg"),
        ("warning", "one file listed 2 times: 3.jpg, z.jpg"),
    ]
    assert only(path, "near-duplicates") == []  # they were named already


def test_labels_against_a_label_set(make: Make, tmp_path: Path) -> None:
    labels = tmp_path / "set.toml"
    labels.write_text("".join(f'[[label]]\nlabel = "{name}"\nname = "{name}"\n' for name in "ac"))
    errors = [text for severity, text in only(make(*SOUND), "labels", "--labels", str(labels)) if severity == "error"]
    assert errors == [
        "label 'b' of 2 images is not in the label set (a, c)",
        "label 'c' of the label set has no image",
    ]
    labels.write_text(labels.read_text() + 'from = ["b"]\n')
    assert all(severity == "warning" for severity, _, _ in found(make(*SOUND), "--labels", str(labels)))


def test_one_class_and_parts_without(make: Make) -> None:
    path = make("0.jpg,a,A,train", "1.jpg,a,B,test")
    assert ("error", "one class only (a): there is nothing to tell apart") in only(path, "labels")
    assert only(path, "parts") == [("error", "no image is in the part 'val': training needs train and val")]
    path = make("0.jpg,a,A,train", "1.jpg,a,B,val", "2.jpg,b,C,val", "3.jpg,a,D,test")
    assert only(path, "parts") == [
        ("error", "no train image is labelled 'b'"),
        ("warning", "no test image is labelled 'b'"),
    ]


def test_a_folder_of_class_folders(tmp_path: Path, jpegs: list[bytes]) -> None:
    for number, name in enumerate(("a/1.jpg", "a/2.jpg", "b/1.jpg", "loose.jpg")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(jpegs[number])
    (tmp_path / "c").mkdir()
    texts = [(severity, text) for severity, _, text in found(tmp_path)]
    assert ("error", f"{tmp_path}: 1 images lie outside any class folder, first loose.jpg") in texts
    assert ("warning", "the class folder 'c' holds no image") in texts


def test_nearly_the_same_picture(make: Make, tmp_path: Path, jpegs: list[bytes]) -> None:
    path = make(*SOUND, "4.jpg,a,E,train", "5.jpg,b,F,train")
    text = path.read_text()
    for name, of, row, turn in (
        ("smaller", 0, "b,X,val", None),
        ("mirrored", 4, "a,Y,train", Image.Transpose.FLIP_LEFT_RIGHT),
        ("turned", 5, "b,F,train", Image.Transpose.ROTATE_90),  # of the same group: no matter
    ):
        picture = Image.open(io.BytesIO(jpegs[of])).resize((90, 90))
        (picture.transpose(turn) if turn is not None else picture).save(tmp_path / f"{name}.jpg", quality=60)
        text += f"{name}.jpg,{row}\n"
    path.write_text(text)
    (first, across), (second, within) = only(path, "near-duplicates")
    assert first == second == "warning"
    assert across.startswith("nearly the same picture in train and val, labelled a and b: 0.jpg, smaller.jpg (")
    assert within.startswith("nearly the same picture in two groups: 4.jpg, mirrored.jpg (")
    assert all("(0 of 256 bits" in text for _, text in only(path, "near-duplicates", "--near", "0"))


def test_pairs_are_those_of_a_plain_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.random.default_rng(0).integers(0, 256, (150, 8, 32), np.uint8)
    for one, other, turn in ((3, 120, 0), (103, 140, 5), (7, 8, 2)):
        hashes[other, 0] = hashes[one, turn]
        hashes[other, 0, :2] ^= 0b111
    bits = np.unpackbits(hashes, axis=2)
    least = (bits[:, :, np.newaxis] != bits[np.newaxis, np.newaxis, :, 0]).sum(3).min(1)
    expected = [(i, j, int(least[i, j])) for i in range(150) for j in range(i + 1, 150) if least[i, j] <= THRESHOLD]
    assert (7, 8, 6) in expected
    assert len(expected) == 3
    for block in (40, 64, 1024):
        monkeypatch.setattr(looks_module, "_BLOCK", block)
        assert sorted(near_pairs(hashes)) == expected
    same = np.zeros(150, np.int64)
    same[7] = 1
    assert list(near_pairs(hashes, unlike=(same,))) == [(7, 8, 6)]


def test_a_picture_of_nothing_has_looks_too() -> None:
    assert looks(Image.new("RGB", (40, 30))).shape == (8, 32)
    assert BITS == 8 * 32


def test_sets_of_look_alikes_are_bounded(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PAIRS", 3)
    for number in range(6):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(tmp_path / f"flat{number}.png")
    path = make(*(f"flat{number}.png,{'ab'[number % 2]},G{number}," for number in range(6)))
    texts = [text for _, text in only(path, "near-duplicates")]
    assert len(texts) == 4
    assert texts[-1] == "more than 3 pairs of pictures look nearly the same: the others were not looked for"


def test_many_warnings_of_one_kind_are_cut_in_print_alone(make: Make, tmp_path: Path) -> None:
    for number in range(8):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(tmp_path / f"flat{number}.png")
    path = make(*(f"flat{number}.png,{'ab'[number % 2]},G{number}," for number in range(8)))
    assert len(only(path, "near-duplicates")) == 28
    lines = run(path).stdout.splitlines()
    assert sum("nearly the same" in line for line in lines) == 20
    assert "warning: near-duplicates: 8 more of these; --json lists them all" in lines


def test_the_default_of_near_is_the_measured_one() -> None:
    (option,) = [parameter for parameter in cli.check.params if parameter.name == "near"]
    assert option.default == THRESHOLD == inspect.signature(module.check).parameters["near"].default


def test_what_is_no_data_set(tmp_path: Path) -> None:
    result = run(tmp_path / "none.csv")
    assert isinstance(result.exception, DataError)
    result = run(tmp_path)
    assert isinstance(result.exception, DataError)
    assert "no images" in str(result.exception)
