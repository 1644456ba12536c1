"""Whole data sets from a server, in small: as the challenges lay them out, and as they must not be."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spot_bench.data.manifest import read_manifest
from spot_edge.errors import DataError, OutputError
from spot_train.commands.data import data
from spot_train.data.download import Patience
from spot_train.data.fetch import fetch
from spot_train.data.sources import load_source

QUICK = Patience(tries=3, pause=0.01)
IMAGES = "/2018/ISIC2018_Task3_Training_Input.zip"
TRUTH = "/2018/ISIC2018_Task3_Training_GroundTruth.zip"
GROUPS = "/2018/ISIC2018_Task3_Training_LesionGroupings.csv"


class Fetch:
    """`fetch` into a folder, and what it said."""

    def __init__(self, sources: Path, out: Path) -> None:
        self.sources, self.out, self.said = sources, out, list[str]()

    def __call__(self, name: str = "ham10000") -> Path:
        self.said.clear()
        return fetch(load_source(name, self.sources), self.out, say=self.said.append, patience=QUICK)


@pytest.fixture
def bring(challenges: Path, tmp_path: Path) -> Fetch:
    return Fetch(challenges, tmp_path / "ham")


def test_ham10000(bring: Fetch, server: Any, jpegs: list[bytes]) -> None:
    manifest = read_manifest(bring())
    assert [(item.label, item.group) for item in manifest.items[:3]] == [
        ("mel", "HAM_0"),
        ("nv", "HAM_0"),
        ("bcc", "HAM_1"),
    ]
    assert manifest.labels == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    assert manifest.items[0].attributes == {"confirmed_by": "histopathology"}
    assert manifest.items[0].image.read_bytes() == jpegs[0]
    assert (bring.out / "ham10000.csv").read_text().splitlines()[1].startswith("images/ISIC_0000000.jpg,mel,HAM_0,")
    names = {path.name for path in (bring.out / "images").iterdir()}
    assert "ISIC2018_Task3_Training_Input-ATTRIBUTION.txt" in names
    assert len(names) == 10
    assert "NC" in (bring.out / "NOTICE.txt").read_text()
    said = "\n".join(bring.said)
    assert "licence: CC BY-NC 4.0" in said
    digest = hashlib.sha256(server.files[IMAGES]).hexdigest()
    assert f"no digest of it was known. It has the SHA-256 {digest}" in said
    assert json.loads((bring.out / "digests.json").read_text())["ISIC2018_Task3_Training_Input.zip"] == digest
    assert sorted(path.name for path in bring.out.iterdir()) == [
        ".lock", "NOTICE.txt", "digests.json", "downloads", "ham10000.csv", "images",
    ]  # fmt: skip
    assert not list((bring.out / "downloads").glob("*.part*"))


def test_isic2017(bring: Fetch) -> None:
    manifest = read_manifest(bring("isic2017"))
    assert [item.label for item in manifest.items] == ["mel", "bkl", "nv", "nv", "nv", "mel", "bkl", "nv"]
    assert len({item.group for item in manifest.items}) == 8
    assert not list((bring.out / "images").glob("*superpixels*"))
    assert "8 of 8 images name no lesion" in "\n".join(bring.said)


def test_isic2019(bring: Fetch) -> None:
    manifest = read_manifest(bring("isic2019"))
    assert [item.label for item in manifest.items] == ["nv", "bcc", "akiec", "bkl", "df", "vasc", "scc"]  # one unknown
    assert manifest.items[0].group == manifest.items[1].group == "MSK4_1"
    assert manifest.items[2].group == "images/ISIC_0000002.jpg"
    assert manifest.items[0].attributes == {"age": "55.0", "sex": "female", "site": "torso"}
    assert "age" not in manifest.items[1].attributes


def test_a_second_fetch_asks_nobody(bring: Fetch, server: Any) -> None:
    first = bring()
    asked = len(server.requests)
    assert bring() == first
    assert len(server.requests) == asked
    assert "there already" in bring.said[-1]


def test_downloads_that_are_there_are_verified_and_used(bring: Fetch, server: Any) -> None:
    bring().unlink()
    asked = len(server.requests)
    bring()
    assert len(server.requests) == asked
    (bring.out / "ham10000.csv").unlink()
    (bring.out / "downloads" / Path(GROUPS).name).write_bytes(b"image,lesion_id\n")
    with pytest.raises(DataError, match=r"not the one of the first download.*: remove .* to download it anew"):
        bring()


def test_wrong_bytes_at_a_later_download(bring: Fetch, server: Any) -> None:
    bring().unlink()
    (bring.out / "downloads" / Path(GROUPS).name).unlink()
    server.files[GROUPS] += b"more,more,more\n"
    with pytest.raises(DataError, match=r"not the one of the first download.*thrown away"):
        bring()
    assert not list((bring.out / "downloads").glob("*Groupings*"))
    assert not (bring.out / "ham10000.csv").exists()


def test_wrong_bytes_where_the_digest_is_known(bring: Fetch, server: Any) -> None:
    known = hashlib.sha256(server.files[IMAGES]).hexdigest()
    text = bring.sources.read_text()
    bring.sources.write_text(text.replace('sha256 = ""', f'sha256 = "{known}"', 1))
    server.faults[IMAGES] = [("send", b"x" * 999)]
    with pytest.raises(DataError, match="not the one that the list of sources names"):
        bring()
    assert not list((bring.out / "downloads").iterdir())
    bring()
    assert not any("Input.zip: no digest" in line for line in bring.said)
    assert "ISIC2018_Task3_Training_Input.zip" not in json.loads((bring.out / "digests.json").read_text())


def test_a_known_size_is_held(bring: Fetch) -> None:
    bring.sources.write_text(bring.sources.read_text().replace("size = 0", "size = 12", 1))
    with pytest.raises(DataError, match="bytes instead of 12"):
        bring()


@pytest.mark.parametrize(
    ("path", "fault"), [(IMAGES, ("promise", -300)), (IMAGES, ("send", b"<html>")), (GROUPS, ("send", b"\xff\xfe"))]
)
def test_what_is_no_such_file_gets_no_digest(bring: Fetch, server: Any, path: str, fault: object) -> None:
    server.faults[path] = [fault]
    with pytest.raises(DataError, match=r"not a whole ZIP|damaged|not the CSV"):
        bring()
    assert not (bring.out / "downloads" / Path(path).name).exists()
    bring()


def test_two_versions_put_together_are_fetched_once_more(bring: Fetch, server: Any) -> None:
    """A server that calls two versions by one name: the digest of the whole finds it, and the whole comes anew."""
    whole = server.files[IMAGES]
    server.faults[IMAGES] = [("break", 5000), 404]
    with pytest.raises(DataError):
        bring()
    part = bring.out / "downloads" / "ISIC2018_Task3_Training_Input.zip.part"
    part.write_bytes(bytes(5000))
    bring()
    assert any("once more from its beginning" in line for line in bring.said)
    assert (bring.out / "downloads" / "ISIC2018_Task3_Training_Input.zip").read_bytes() == whole


def test_killed_and_taken_up(challenges: Path, server: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "spot_edge.cli", "data", "fetch", "ham10000"]
    command += ["--out", str(out), "--sources", str(challenges)]
    server.pause = 0.05
    part = out / "downloads" / f"{Path(IMAGES).name}.part"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size > 20_000) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    have = part.stat().st_size
    assert 20_000 < have < len(server.files[IMAGES])
    server.pause = 0.0
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{out / 'ham10000.csv'}: written\n")
    assert "licence: CC BY-NC" in done.stderr
    assert server.requests[1] == (IMAGES, f"bytes={have}-", 206)
    assert len(read_manifest(out / "ham10000.csv").items) == 8


def test_an_unknown_data_set_leaves_nothing(challenges: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(data, ["fetch", "cats", "--out", str(tmp_path / "cats")])
    assert isinstance(result.exception, DataError)
    assert not (tmp_path / "cats").exists()


def test_one_fetch_at_a_time(bring: Fetch) -> None:
    fcntl = pytest.importorskip("fcntl")
    bring.out.mkdir()
    with open(bring.out / ".lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another fetch"):
            bring()


def test_an_interrupted_unpacking_leaves_no_half_folder(
    bring: Fetch, server: Any, zipped: Callable[[dict[str, bytes]], bytes]
) -> None:
    server.files[IMAGES] = zipped({"a/ISIC_0000000.jpg": b"1"})
    with pytest.raises(DataError, match="7 of 8 images are in no archive, first ISIC_0000001"):
        bring()
    assert not [path for path in bring.out.iterdir() if "images" in path.name]


def test_pictures_that_went_are_missed(bring: Fetch) -> None:
    bring().unlink()
    (bring.out / "images" / "ISIC_0000003.jpg").unlink()
    with pytest.raises(DataError, match="ISIC_0000003 is not there: remove the folder"):
        bring()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"image,MEL,NV,BCC,AKIEC,BKL,DF\na,1,0,0,0,0,0\n", "no column 'VASC'"),
        (b"image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\na,1,1,0,0,0,0,0\n", "a has 2 labels instead of one"),
        (b"image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\na,0,0,,x,0,0,0\n", "a has 0 labels instead of one"),
        (b"image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\na,1,0,0,0,0,0,0\na,1,0,0,0,0,0,0\n", "lists a twice"),
        (b"image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n", "list no images"),
        (b"\xff", "not a CSV file in UTF-8"),
    ],
)
def test_tables_of_another_kind(
    bring: Fetch, server: Any, zipped: Callable[[dict[str, bytes]], bytes], text: bytes, complaint: str
) -> None:
    server.files[TRUTH] = zipped({"t.csv": text})
    with pytest.raises(DataError, match=complaint):
        bring()


def test_a_truth_without_a_table_and_groups_without_lesions(
    bring: Fetch, server: Any, zipped: Callable[[dict[str, bytes]], bytes]
) -> None:
    good = server.files[TRUTH]
    server.files[TRUTH] = zipped({"readme.md": b"-"})
    with pytest.raises(DataError, match="holds 0 CSV files"):
        bring()
    server.files[TRUTH] = good
    server.files[GROUPS] = b"image,diagnosis_confirm_type\nISIC_0000000,histopathology\n"
    for path in ((bring.out / "downloads").iterdir(), bring.out.glob("digests.json")):
        for file in path:
            file.unlink()
    with pytest.raises(DataError, match="none of its tables has the column 'lesion_id'"):
        bring()


def test_a_spoilt_record_of_digests(bring: Fetch) -> None:
    bring().unlink()
    (bring.out / "digests.json").write_text("[1]")
    with pytest.raises(DataError, match="not a list of digests"):
        bring()
