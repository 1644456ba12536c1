"""The list of official sources, and custom lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from spot_edge.errors import DataError
from spot_train.data.sources import load_source
from spot_train.labels.labelset import load_label_set

GOOD = """
[mine]
about = "mine"
licence = "mine"
terms = "none"
most = 1000
id = "image"
labels = { A = "a" }
[[mine.file]]
url = "https://example.org/x/images.zip"
role = "images"
[[mine.file]]
url = "https://example.org/x/truth.csv"
role = "truth"
"""


@pytest.mark.parametrize("name", ["ham10000", "isic2017", "isic2019"])
def test_the_official_sources(name: str) -> None:
    source = load_source(name)
    assert all(file.url.startswith("https://isic-challenge-data.s3.amazonaws.com/20") for file in source.file)
    assert all(file.size == 0 and file.sha256 == "" for file in source.file)  # unknown, not invented
    assert "NC" in source.licence


def test_source_labels_match_the_label_sets() -> None:
    for name in ("ham10000", "isic2019"):
        labels = {label.label for label in load_label_set(name).labels}
        assert set(load_source(name).labels.values()) == labels


def test_a_custom_list(tmp_path: Path) -> None:
    path = tmp_path / "mirror.toml"
    path.write_text(GOOD)
    assert [file.name for file in load_source("mine", path).file] == ["images.zip", "truth.csv"]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("https://example.org/x/truth.csv", "file:///etc/passwd", "not an http or https"),
        ("/x/truth.csv", "/x/", "plain file name"),
        ("/x/truth.csv", "/x/..%2Ftruth.csv", "plain file name"),
        ("/x/truth.csv", "/x/images.zip", "the same name"),
        ('"truth"', '"lies"', "role"),
        ('"truth"', '"about"', "no file has the role truth"),
        ('role = "truth"', 'role = "truth"\nsha256 = "abc"', "64 hexadecimal"),
        ('role = "truth"', 'role = "truth"\nsize = -1', "number of bytes"),
        ('role = "truth"', 'role = "truth"\nmd5 = ""', "md5"),
        ("most = 1000", "most = 0", "most must be"),
        ('id = "image"', "id = 3", "must be strings"),
        ("labels =", "label =", "label"),
    ],
)
def test_an_invalid_list_is_refused(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    path = tmp_path / "mirror.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(DataError, match=complaint) as caught:
        load_source("mine", path)
    assert str(path) in str(caught.value)


def test_unreadable_lists_and_unknown_data_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Known are ham10000, isic2017, isic2019"):
        load_source("imagenet")
    with pytest.raises(DataError, match="cannot read it"):
        load_source("mine", tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[")
    with pytest.raises(DataError, match="cannot read it"):
        load_source("mine", tmp_path / "bad.toml")
