"""Reading and writing manifests: CSV files and class folders, good and bad ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from spot_bench.data.manifest import Item, Manifest, read_manifest, write_manifest
from spot_edge.errors import DataError, OutputError

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a manifest beside the images a.jpg to d.jpg."""
    for name in "abcd":
        (tmp_path / f"{name}.jpg").write_bytes(b"x")

    def write_text(text: str) -> Path:
        path = tmp_path / "data.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def test_all_columns_are_read(write: Write, tmp_path: Path) -> None:
    path = write(
        "image,label,group,split,mask,age,note\na.jpg,mel,L1,train,m/a.png,55,\nb.jpg,nv,L2,test,,,seen twice\n"
    )
    found = read_manifest(path)
    assert found.origin == path
    assert found.items[0] == Item(
        tmp_path / "a.jpg", "mel", "L1", "train", {"mask": str(tmp_path / "m/a.png"), "age": "55"}
    )
    assert found.items[1].attributes == {"note": "seen twice"}
    assert found.labels == ("mel", "nv")
    assert found.splits == ("train", "test")


def test_group_and_split_may_be_missing(write: Write) -> None:
    found = read_manifest(write("image,label\na.jpg,mel\n\n b.jpg , nv \n"))
    assert [(item.group, item.split, item.label) for item in found.items] == [
        ("a.jpg", None, "mel"),
        ("b.jpg", None, "nv"),
    ]


def test_windows_spreadsheets_are_read(write: Write) -> None:
    found = read_manifest(write('\ufeffImage,Label\r\n"a.jpg","mel, in situ"\r\n'))
    assert found.items[0].label == "mel, in situ"


def test_root_is_the_folder_of_the_images(write: Write, tmp_path: Path) -> None:
    path = write("image,label\na.jpg,mel\n")
    other = tmp_path / "other"
    other.mkdir()
    moved = path.rename(other / "data.csv")
    with pytest.raises(DataError, match="1 of 1 images do not exist"):
        read_manifest(moved)
    found = read_manifest(moved, root=tmp_path)
    assert found.items[0].image == tmp_path / "a.jpg"
    assert found.name(found.items[0]) == "a.jpg"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"empty\. Its first line must name the columns image,label"),
        ("image,group\na.jpg,L1\n", "lacks the column label"),
        ("picture,class\na.jpg,L1\n", "lacks the column image and the column label"),
        ("image;label\na.jpg;mel\n", "Separate columns with commas"),
        ("image,label,label\na.jpg,mel,nv\n", "names the column label twice"),
        ("image,label\n", "lists no images"),
        ("image,label\na.jpg,mel\nb.jpg,\n", "line 3: no label"),
        ("image,label\n,mel\n", "line 2: no image"),
        ("image,label\na.jpg,mel,nv\n", "line 2: 3 values for 2 columns"),
        ("image,label\na.jpg,mel\n./a.jpg,mel\n", r"twice\. Keep one row per image"),
        ("image,label,split\na.jpg,mel,held-out\n", r"unknown split 'held-out'\. The splits are train, val"),
        ("image,label,split\na.jpg,mel,train\nb.jpg,mel,\n", "1 of 2 rows have no split"),
        (
            "image,label,group,split\na.jpg,mel,L1,train\nb.jpg,mel,L1,test\n",
            r"group 'L1' is in both train and test\. Keep each group in one split",
        ),
        ("image,label\na.jpg,mel\nx.jpg,mel\ny.jpg,nv\n", r"2 of 3 images do not exist, the first is .*x\.jpg"),
        ('image,label\n"a.jpg,mel\n', "not CSV"),
    ],
)
def test_bad_manifests_are_refused(write: Write, text: str, complaint: str) -> None:
    path = write(text)
    with pytest.raises(DataError, match=complaint) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"image,label\n\xff\xfe,mel\n")
    with pytest.raises(DataError, match="not a UTF-8 CSV file"):
        read_manifest(path)


def test_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read_manifest(tmp_path / "nothing.csv")


def test_check_files_false_skips_the_check_for_files(write: Write) -> None:
    assert len(read_manifest(write("image,label\nx.jpg,mel\n"), check_files=False).items) == 1


def test_an_unknown_split_lists_the_splits(write: Write) -> None:
    split = read_manifest(write("image,label,split\na.jpg,mel,train\nb.jpg,mel,val\n"))
    assert [item.image.name for item in split.split("val").items] == ["b.jpg"]
    with pytest.raises(DataError, match=r"no split 'test' \(its splits: train, val\)"):
        split.split("test")
    unsplit = read_manifest(write("image,label\na.jpg,mel\n"))
    with pytest.raises(DataError, match="none, the data set is not split"):
        unsplit.split("test")


def test_class_folders(tmp_path: Path) -> None:
    names = [
        "nv/b.JPG",
        "mel/deep/er/a.png",
        "mel/notes.txt",
        "nv/.hidden.jpg",
        ".git/x/c.jpg",
        "nv/.thumbs/d.jpg",
        "README",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = read_manifest(tmp_path)
    assert [(found.name(item), item.label, item.group) for item in found.items] == [
        ("mel/deep/er/a.png", "mel", "mel/deep/er/a.png"),
        ("nv/b.JPG", "nv", "nv/b.JPG"),
    ]
    assert found.splits == ()


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ([], "no images found"),
        (["nv/notes.txt"], "no images found"),
        (["a.jpg", "nv/b.jpg"], r"1 images are outside the class folders, the first is a\.jpg"),
        (["train/nv/a.jpg", "Test/nv/b.jpg"], r"named after splits, not classes \(Test, train\)"),
    ],
)
def test_folders_of_another_layout_are_refused(tmp_path: Path, names: list[str], complaint: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=complaint):
        read_manifest(tmp_path)


def test_written_manifests_read_back(write: Write, tmp_path: Path) -> None:
    path = write('image,label,group,split,mask,site\na.jpg,"mel, in situ",L1,train,a.png,\nb.jpg,nv,L2,test,,back\n')
    manifest = read_manifest(path)
    (tmp_path / "run").mkdir()
    copy = tmp_path / "run" / "split.csv"
    write_manifest(manifest, copy)
    assert copy.read_text().splitlines() == [
        "image,label,group,split,mask,site",
        '../a.jpg,"mel, in situ",L1,train,../a.png,',
        "../b.jpg,nv,L2,test,,back",
    ]
    again = read_manifest(copy)
    assert [os.path.normpath(item.image) for item in again.items] == [str(item.image) for item in manifest.items]
    assert [item.attributes.get("site") for item in again.items] == [None, "back"]


def test_written_paths_are_right_through_a_symbolic_link(write: Write, tmp_path: Path) -> None:
    manifest = read_manifest(write("image,label\na.jpg,mel\n"))
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away", target_is_directory=True)
    write_manifest(manifest, tmp_path / "link" / "split.csv")
    assert read_manifest(tmp_path / "far" / "away" / "split.csv").items[0].image.exists()


def test_unwritable_manifest_is_an_output_error(tmp_path: Path) -> None:
    manifest = Manifest((Item(tmp_path / "a.jpg", "mel", "L1"),), tmp_path)
    with pytest.raises(OutputError, match="cannot be written"):
        write_manifest(manifest, tmp_path / "missing" / "split.csv")


def test_other_names_of_the_splits_are_understood(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").touch()
    (tmp_path / "data.csv").write_text("image,label,split\na.png,x,training\nb.png,y,validation\n")
    assert read_manifest(tmp_path / "data.csv").splits == ("train", "val")
