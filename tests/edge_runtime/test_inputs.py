"""Finding the images that a command line names, and naming their results."""

from __future__ import annotations

from pathlib import Path

import pytest

from spot_edge.image.inputs import SUFFIXES, Found, find_images, unique_name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of empty files."""
    inside = ["b.JPG", "a.png", "notes.txt", ".hidden.png", "deep/er/c.tiff", "deep/d[1].webp", ".git/e.png"]
    for name in inside:
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "scans"


def relative(found: list[Found]) -> list[str]:
    assert not [each.problem for each in found if each.problem]
    return [each.relative.replace("\\", "/") for each in found]


def test_a_folder_is_searched_with_its_subfolders_except_hidden_ones(folder: Path) -> None:
    assert relative(find_images([str(folder)])) == ["a.png", "b.JPG", "deep/d[1].webp", "deep/er/c.tiff"]


def test_found_paths_exist(folder: Path) -> None:
    assert all(Path(found.path).is_file() for found in find_images([str(folder)]))


def test_every_suffix_is_found_in_any_case(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        (tmp_path / f"a{suffix}").touch()
        (tmp_path / f"b{suffix.upper()}").touch()
    assert len(find_images([str(tmp_path)])) == 2 * len(SUFFIXES)


def test_a_named_file_may_have_any_suffix(folder: Path) -> None:
    assert relative(find_images([str(folder / "notes.txt"), str(folder / ".hidden.png")])) == [
        "notes.txt",
        ".hidden.png",
    ]


def test_a_pattern(folder: Path) -> None:
    assert relative(find_images([str(folder / "*.png")])) == ["a.png"]
    assert relative(find_images([str(folder / "**" / "*.tif*")])) == ["c.tiff"]


def test_a_file_name_that_looks_like_a_pattern_is_taken_literally(folder: Path) -> None:
    assert relative(find_images([str(folder / "deep" / "d[1].webp")])) == ["d[1].webp"]


def test_names_keep_their_order_and_standard_input_its_dash(folder: Path) -> None:
    names = ["-", str(folder / "b.JPG"), "missing.png", str(folder / "a.png")]
    assert [found.path for found in find_images(names)] == names


@pytest.mark.parametrize(
    ("name", "why"), [("empty", "no images in this folder"), ("*.bmp", "matches no file"), ("de*", "matches no file")]
)
def test_a_name_that_matches_nothing_is_reported_in_its_place(name: str, why: str, folder: Path) -> None:
    (folder / "empty").mkdir()
    first, second = find_images([str(folder / name), str(folder / "a.png")])
    assert first.path == str(folder / name)
    assert str(first.problem).startswith(f"{folder / name}: {why}")
    assert second.problem is None


def test_a_name_with_a_nul_byte() -> None:
    (found,) = find_images(["a\0b"])
    assert "not a file name" in str(found.problem)


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ("a.jpg", "a"),
        ("deep/er/a.b.jpg", "deep__er__a.b"),
        ("-", "stdin"),
        ("/x/../a.jpg", "x__a"),
        ("läsion 3.jpg", "läsion 3"),
        ("\udcff.jpg", "image"),
        ("x" * 300 + ".jpg", "x" * 200),
        ("ä" * 150 + ".jpg", "ä" * 100),
    ],
)
def test_the_name_of_a_result(found: str, name: str) -> None:
    assert unique_name(found, set()) == name


def test_results_never_share_a_name() -> None:
    taken: set[str] = set()
    names = [unique_name(found, taken) for found in ("a/b.jpg", "a__b.png", "A/B.jpg", "a/b.tif", "a__b-2.jpg")]
    assert names == ["a__b", "a__b-2", "A__B-3", "a__b-4", "a__b-2-2"]
    assert len({name.casefold() for name in names}) == len(names)
