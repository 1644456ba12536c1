"""`spot-edge data check`: every problem at once, as errors and warnings."""

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
from spot_train.data import images as images_module
from spot_train.data.images import BITS, THRESHOLD, near_pairs, perceptual_hashes

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, jpegs: list[bytes]) -> Make:
    """Write a manifest from `image,label,group,split` lines. An image named by a number is that JPEG."""

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
    return [(severity, text) for severity, found_kind, text in found(path, *options) if found_kind == kind]


SOUND = ("0.jpg,a,A,train", "1.jpg,b,B,train", "2.jpg,a,C,val", "3.jpg,b,D,val")


def test_a_sound_set_has_only_warnings_about_few_groups(make: Make) -> None:
    result = run(make(*SOUND))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "label    share  images (groups)  train    val",
        "a       50.0 %            2 (2)  1 (1)  1 (1)",
        "b       50.0 %            2 (2)  1 (1)  1 (1)",
        "all    100.0 %            4 (4)  2 (2)  2 (2)",
        "",
        "warning: label 'a' has 2 images in 2 groups: with fewer than 20 groups some splits get none, and "
        "metrics for it are unreliable",
        "warning: label 'b' has 2 images in 2 groups: with fewer than 20 groups some splits get none, and "
        "metrics for it are unreliable",
        "0 errors, 2 warnings",
    ]
    assert result.stderr == ""


def test_all_problems_are_listed_and_end_in_a_data_error(make: Make, tmp_path: Path) -> None:
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
    assert str(result.exception) == f"{path}: 8 errors: fix them before training"
    errors = [line for line in result.stdout.splitlines() if line.startswith("error: ")]
    for text in (
        "line 6: no label", "line 7: unknown split 'somewhere'", "line 8: 6 values for 4 columns",
        "0.jpg twice", "group 'F' is in both train and test", "gone.jpg: no such file", "hurt.jpg: damaged",
        "empty.jpg: empty",
    ):  # fmt: skip
        assert sum(text in line for line in errors) == 1, text
    assert len(errors) == 8
    assert run(path).stdout == result.stdout


def test_byte_identical_files(make: Make, tmp_path: Path) -> None:
    path = make("0.jpg,a,A,train", "1.jpg,b,B,train", "2.jpg,a,C,val", "3.jpg,b,D,val")
    text = path.read_text()
    for name, of, row in (
        ("w", 0, "b,X,train"), ("x", 1, "b,B,val"), ("y", 2, "a,Y,val"), ("z", 3, "b,D,val"),
    ):  # fmt: skip
        (tmp_path / f"{name}.jpg").write_bytes((tmp_path / f"{of}.jpg").read_bytes())
        text += f"{name}.jpg,{row}\n"
    path.write_text(text.replace("x.jpg,b,B,", "x.jpg,b,X2,"))
    assert only(path, "duplicates") == [
        ("error", "the same file has the labels a and b: 0.jpg, w.jpg"),
        ("error", "the same file is in the splits train and val: 1.jpg, x.jpg"),
        ("warning", "the same file is in 2 groups: 2.jpg, y.jpg"),
        ("warning", "the same file is listed 2 times: 3.jpg, z.jpg"),
    ]
    assert only(path, "near-duplicates") == []  # byte-identical files are not reported twice


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


def test_a_single_class_and_splits_without_a_class(make: Make) -> None:
    path = make("0.jpg,a,A,train", "1.jpg,a,B,test")
    assert ("error", "only one class (a): training needs at least two") in only(path, "labels")
    assert only(path, "splits") == [("error", "the split 'val' is empty: training needs train and val")]
    path = make("0.jpg,a,A,train", "1.jpg,a,B,val", "2.jpg,b,C,val", "3.jpg,a,D,test")
    assert only(path, "splits") == [
        ("error", "no train image is labelled 'b'"),
        ("warning", "no test image is labelled 'b'"),
    ]


def test_a_folder_of_class_folders(tmp_path: Path, jpegs: list[bytes]) -> None:
    for number, name in enumerate(("a/1.jpg", "a/2.jpg", "b/1.jpg", "loose.jpg")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(jpegs[number])
    (tmp_path / "c").mkdir()
    texts = [(severity, text) for severity, _, text in found(tmp_path)]
    assert ("error", f"{tmp_path}: 1 images are outside the class folders, the first is loose.jpg") in texts
    assert ("warning", "the class folder 'c' has no images") in texts


def test_near_duplicates(make: Make, tmp_path: Path, jpegs: list[bytes]) -> None:
    path = make(*SOUND, "4.jpg,a,E,train", "5.jpg,b,F,train")
    text = path.read_text()
    for name, of, row, turn in (
        ("smaller", 0, "b,X,val", None),
        ("mirrored", 4, "a,Y,train", Image.Transpose.FLIP_LEFT_RIGHT),
        ("turned", 5, "b,F,train", Image.Transpose.ROTATE_90),  # of the same group: not reported
    ):
        image = Image.open(io.BytesIO(jpegs[of])).resize((90, 90))
        (image.transpose(turn) if turn is not None else image).save(tmp_path / f"{name}.jpg", quality=60)
        text += f"{name}.jpg,{row}\n"
    path.write_text(text)
    (first, across), (second, within) = only(path, "near-duplicates")
    assert first == second == "warning"
    assert across.startswith("nearly the same image in train and val, labelled a and b: 0.jpg, smaller.jpg (")
    assert within.startswith("nearly the same image in two groups: 4.jpg, mirrored.jpg (")
    assert all("(0 of 256 bits" in text for _, text in only(path, "near-duplicates", "--near", "0"))


def test_pairs_equal_those_of_a_direct_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
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
        monkeypatch.setattr(images_module, "_BLOCK", block)
        assert sorted(near_pairs(hashes)) == expected
    same = np.zeros(150, np.int64)
    same[7] = 1
    assert list(near_pairs(hashes, differing=(same,))) == [(7, 8, 6)]


def test_a_blank_image_has_a_hash() -> None:
    assert perceptual_hashes(Image.new("RGB", (40, 30))).shape == (8, 32)
    assert BITS == 8 * 32


def test_the_number_of_near_duplicates_is_bounded(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PAIRS", 3)
    for number in range(6):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(tmp_path / f"flat{number}.png")
    path = make(*(f"flat{number}.png,{'ab'[number % 2]},G{number}," for number in range(6)))
    texts = [text for _, text in only(path, "near-duplicates")]
    assert len(texts) == 4
    assert texts[-1] == "more than 3 pairs of near-duplicates: the search stopped there"


def test_many_warnings_of_one_kind_are_shortened_in_print_only(make: Make, tmp_path: Path) -> None:
    for number in range(8):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(tmp_path / f"flat{number}.png")
    path = make(*(f"flat{number}.png,{'ab'[number % 2]},G{number}," for number in range(8)))
    assert len(only(path, "near-duplicates")) == 28
    lines = run(path).stdout.splitlines()
    assert sum("nearly the same" in line for line in lines) == 20
    assert "warning: near-duplicates: 8 more; --json lists them all" in lines


def test_the_default_of_near_is_the_measured_one() -> None:
    (option,) = [parameter for parameter in cli.check.params if parameter.name == "near"]
    assert option.default == THRESHOLD == inspect.signature(module.check).parameters["near"].default


def test_a_path_without_a_data_set_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path / "none.csv")
    assert isinstance(result.exception, DataError)
    result = run(tmp_path)
    assert isinstance(result.exception, DataError)
    assert "no images" in str(result.exception)


def other(tmp_path: Path, name: str, *lines: str, header: str = "image,label,group,split") -> Path:
    path = tmp_path / name
    path.write_text("\n".join([header, *lines, ""]))
    return path


def recompressed(tmp_path: Path, name: str, jpeg: bytes, side: int = 100, quality: int = 60) -> str:
    Image.open(io.BytesIO(jpeg)).resize((side, side)).save(tmp_path / name, quality=quality)
    return name


def leaks(path: Path, *options: str) -> list[tuple[str, str]]:
    return [(kind, text) for severity, kind, text in found(path, *options) if kind.startswith("leak") and severity]


def test_leaks_between_data_and_source_are_errors(make: Make, tmp_path: Path, jpegs: list[bytes]) -> None:
    path = make(*SOUND, "4.jpg,a,E,test", "5.jpg,b,F,calibrate")
    for name in ("4_downsampled.jpg", "x.jpg", "y.jpg", "z.jpg", "w.jpg"):
        (tmp_path / name).write_bytes(jpegs[8 + len(name) % 4] if name != "w.jpg" else jpegs[1])
    source = other(
        tmp_path,
        "source.csv",
        "4_downsampled.jpg,a,,train",  # the id of a test image
        "x.jpg,b,F,train",  # the group of a calibration image
        f"{recompressed(tmp_path, 'y.jpg', jpegs[2])},a,,train",  # a copy of a validation image
        f"{recompressed(tmp_path, 'z.jpg', jpegs[0])},a,,train",  # a copy of a training image: no leak
        "w.jpg,b,,val",  # the source holds it out, and the data train on a copy
    )
    listed = leaks(path, "--source", str(source))
    assert [kind for kind, _ in listed] == ["leak-near-duplicate", "leak-id", "leak-group", "leak-near-duplicate"]
    texts = [text for _, text in listed]
    assert texts[0].startswith(
        "data.csv may train on 1.jpg, which is nearly the same image as w.jpg (val, source.csv; 0 of "
    )
    assert texts[1] == ("source.csv may train on 4_downsampled.jpg, which has the same id as 4.jpg (test, data.csv)")
    assert texts[2].endswith("which has the same group as 5.jpg (calibrate, data.csv)")
    assert "which is nearly the same image as 2.jpg (val, data.csv; " in texts[3]
    result = run(path, "--source", str(source))
    assert isinstance(result.exception, DataError)
    assert result.exception.exit_code == 7
    assert sum(line.startswith("error: ") for line in result.stdout.splitlines()) == 4


def test_a_held_out_data_set_never_trains(make: Make, tmp_path: Path, jpegs: list[bytes]) -> None:
    path = make(*SOUND)
    recompressed(tmp_path, "x.jpg", jpegs[0])
    recompressed(tmp_path, "y.jpg", jpegs[2])
    apart = other(tmp_path, "apart.csv", "x.jpg,a", "y.jpg,a", header="image,label")
    (only_leak,) = leaks(path, "--held-out", str(apart))
    assert only_leak[0] == "leak-near-duplicate"
    assert "may train on 0.jpg" in only_leak[1]
    assert "x.jpg (not split, apart.csv; " in only_leak[1]
    # as a source without splits, all its images train
    assert [text.partition(",")[0] for _, text in leaks(path, "--source", str(apart))] == [
        "apart.csv may train on y.jpg"
    ]


def test_any_image_of_data_without_splits_may_be_held_out(make: Make, tmp_path: Path, jpegs: list[bytes]) -> None:
    path = make("0.jpg,a,A", "1.jpg,b,B", header="image,label,group")
    recompressed(tmp_path, "x.jpg", jpegs[0])
    source = other(tmp_path, "source.csv", "x.jpg,a,", header="image,label,group")
    assert [kind for kind, _ in leaks(path, "--source", str(source))] == ["leak-near-duplicate"]


def test_hashes_are_read_from_the_cache_until_a_file_changes(
    make: Make, tmp_path: Path, jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(*SOUND, "hurt.jpg,a,E,train", "gone.jpg,a,F,train")
    (tmp_path / "hurt.jpg").write_bytes(jpegs[4][:900])
    cache = tmp_path / "cache"
    before = found(path, "--cache", str(cache))
    with monkeypatch.context() as patch:
        patch.setattr(images_module, "perceptual_hashes", lambda image: pytest.fail("decoded again"))
        assert found(path, "--cache", str(cache)) == before
    (tmp_path / "hurt.jpg").write_bytes(jpegs[4])
    assert not any("hurt.jpg: damaged" in text for _, _, text in found(path, "--cache", str(cache)))
    for kept in cache.iterdir():
        kept.write_bytes(b"damaged")
    assert not any("hurt.jpg: damaged" in text for _, _, text in found(path, "--cache", str(cache)))


def test_near_between_equals_a_direct_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    hashes, others = random.integers(0, 256, (70, 8, 32), np.uint8), random.integers(0, 256, (50, 8, 32), np.uint8)
    others[7, 0], others[49, 0] = hashes[65, 3], hashes[2, 0]
    others[49, 0, 0] ^= 0b101
    for block in (16, 1024):
        monkeypatch.setattr(images_module, "_BLOCK", block)
        assert sorted(images_module.near_between(hashes, others)) == [(2, 49, 2), (65, 7, 0)]
