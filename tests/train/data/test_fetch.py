"""Fetch small data sets laid out like the ISIC challenges, complete and broken, from a local server."""

from __future__ import annotations

import hashlib
import json
import re
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
from spot_train.data.download import RetryPolicy
from spot_train.data.fetch import fetch
from spot_train.data.sources import load_source

QUICK = RetryPolicy(tries=3, pause=0.01)
IMAGES = "/2018/ISIC2018_Task3_Training_Input.zip"
TRUTH = "/2018/ISIC2018_Task3_Training_GroundTruth.zip"
GROUPS = "/2018/ISIC2018_Task3_Training_LesionGroupings.csv"


class Fetch:
    """Call `fetch` into a folder, and keep its messages."""

    def __init__(self, sources: Path, out: Path) -> None:
        self.sources, self.out, self.messages = sources, out, list[str]()

    def __call__(self, name: str = "ham10000") -> Path:
        self.messages.clear()
        return fetch(load_source(name, self.sources), self.out, log=self.messages.append, retries=QUICK)


@pytest.fixture
def fetched(challenges: Path, tmp_path: Path) -> Fetch:
    return Fetch(challenges, tmp_path / "ham")


def test_ham10000(fetched: Fetch, server: Any, jpegs: list[bytes]) -> None:
    manifest = read_manifest(fetched())
    assert [(item.label, item.group) for item in manifest.items[:3]] == [
        ("mel", "HAM_0"),
        ("nv", "HAM_0"),
        ("bcc", "HAM_1"),
    ]
    assert manifest.labels == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    assert manifest.items[0].attributes == {"confirmed_by": "histopathology"}
    assert manifest.items[0].image.read_bytes() == jpegs[0]
    assert (fetched.out / "ham10000.csv").read_text().splitlines()[1].startswith("images/ISIC_0000000.jpg,mel,HAM_0,")
    names = {path.name for path in (fetched.out / "images").iterdir()}
    assert "ISIC2018_Task3_Training_Input-ATTRIBUTION.txt" in names
    assert len(names) == 10
    assert "NC" in (fetched.out / "NOTICE.txt").read_text()
    message = "\n".join(fetched.messages)
    assert "licence: CC BY-NC 4.0" in message
    digest = hashlib.sha256(server.files[IMAGES]).hexdigest()
    assert f"its digest was unknown. Recorded its SHA-256 {digest}" in message
    assert json.loads((fetched.out / "digests.json").read_text())["ISIC2018_Task3_Training_Input.zip"] == digest
    assert sorted(path.name for path in fetched.out.iterdir()) == [
        ".lock", "NOTICE.txt", "digests.json", "downloads", "ham10000.csv", "images",
    ]  # fmt: skip
    assert not list((fetched.out / "downloads").glob("*.part*"))


def test_isic2017(fetched: Fetch) -> None:
    path = fetched("isic2017")
    assert path == fetched.out / "isic2017.csv"
    manifest = read_manifest(path)
    assert not manifest.splits
    assert [item.label for item in manifest.items] == ["mel", "bkl", "nv", "nv", "nv", "mel", "bkl", "nv"]
    assert len({item.group for item in manifest.items}) == 8
    assert not list((fetched.out / "images").glob("*superpixels*"))
    assert "8 of 8 images have no lesion id" in "\n".join(fetched.messages)


def test_the_documentation_names_the_manifests_that_are_written(repository: Path) -> None:
    """In its folder, a command finds what `data fetch` or `data split` wrote."""
    text = (repository / "docs" / "how-to" / "prepare-data.md").read_text()
    folders = {folder: name for name, folder in re.findall(r"spot-edge data fetch (\w+) --out (\w+)", text)}
    assert set(folders.values()) == {"ham10000", "isic2017"}
    written = {f"{folder}/{name}.csv" for folder, name in folders.items()}
    written |= set(re.findall(r"spot-edge data split \S+ --out (\S+)", text))
    for page in ("docs/how-to/prepare-data.md", "docs/reference/recipes.md", "experiments/source_clue.py"):
        found = re.findall(rf"\b(?:{'|'.join(folders)})/[\w-]+\.csv", (repository / page).read_text())
        assert found
        assert set(found) <= written, page


def test_isic2019(fetched: Fetch) -> None:
    manifest = read_manifest(fetched("isic2019"))
    assert [item.label for item in manifest.items] == ["nv", "bcc", "akiec", "bkl", "df", "vasc", "scc"]  # one unknown
    assert manifest.items[0].group == manifest.items[1].group == "MSK4_1"
    assert manifest.items[2].group == "images/ISIC_0000002.jpg"
    assert manifest.items[0].attributes == {"age": "55.0", "sex": "female", "site": "torso"}
    assert "age" not in manifest.items[1].attributes


def test_a_second_fetch_makes_no_request(fetched: Fetch, server: Any) -> None:
    first = fetched()
    requests = len(server.requests)
    assert fetched() == first
    assert len(server.requests) == requests
    assert "already exists" in fetched.messages[-1]


def test_existing_downloads_are_verified_and_used(fetched: Fetch, server: Any) -> None:
    fetched().unlink()
    requests = len(server.requests)
    fetched()
    assert len(server.requests) == requests
    (fetched.out / "ham10000.csv").unlink()
    (fetched.out / "downloads" / Path(GROUPS).name).write_bytes(b"image,lesion_id\n")
    with pytest.raises(DataError, match=r"not the one of the first download.*: remove .* to download it again"):
        fetched()


def test_a_later_download_must_match_the_first(fetched: Fetch, server: Any) -> None:
    fetched().unlink()
    (fetched.out / "downloads" / Path(GROUPS).name).unlink()
    server.files[GROUPS] += b"more,more,more\n"
    with pytest.raises(DataError, match=r"not the one of the first download.*discarded"):
        fetched()
    assert not list((fetched.out / "downloads").glob("*Groupings*"))
    assert not (fetched.out / "ham10000.csv").exists()


def test_a_download_must_match_the_digest_in_the_sources(fetched: Fetch, server: Any) -> None:
    known = hashlib.sha256(server.files[IMAGES]).hexdigest()
    text = fetched.sources.read_text()
    fetched.sources.write_text(text.replace('sha256 = ""', f'sha256 = "{known}"', 1))
    server.faults[IMAGES] = [("send", b"x" * 999)]
    with pytest.raises(DataError, match="not the one of the list of sources"):
        fetched()
    assert not list((fetched.out / "downloads").iterdir())
    fetched()
    assert not any("Input.zip: its digest was unknown" in line for line in fetched.messages)
    assert "ISIC2018_Task3_Training_Input.zip" not in json.loads((fetched.out / "digests.json").read_text())


def test_a_download_must_have_the_known_size(fetched: Fetch) -> None:
    fetched.sources.write_text(fetched.sources.read_text().replace("size = 0", "size = 12", 1))
    with pytest.raises(DataError, match="bytes instead of 12"):
        fetched()


@pytest.mark.parametrize(
    ("path", "fault"), [(IMAGES, ("promise", -300)), (IMAGES, ("send", b"<html>")), (GROUPS, ("send", b"\xff\xfe"))]
)
def test_a_broken_file_gets_no_digest(fetched: Fetch, server: Any, path: str, fault: object) -> None:
    server.faults[path] = [fault]
    with pytest.raises(DataError, match=r"not a complete ZIP|damaged|not a CSV"):
        fetched()
    assert not (fetched.out / "downloads" / Path(path).name).exists()
    fetched()


def test_a_mix_of_two_versions_is_downloaded_again(fetched: Fetch, server: Any) -> None:
    """The server gave two versions the same name: the digest differs, and the whole file is downloaded again."""
    whole = server.files[IMAGES]
    server.faults[IMAGES] = [("break", 5000), 404]
    with pytest.raises(DataError):
        fetched()
    part = fetched.out / "downloads" / "ISIC2018_Task3_Training_Input.zip.part"
    part.write_bytes(bytes(5000))
    fetched()
    assert any("downloading it again from the start" in line for line in fetched.messages)
    assert (fetched.out / "downloads" / "ISIC2018_Task3_Training_Input.zip").read_bytes() == whole


def test_a_killed_fetch_resumes(challenges: Path, server: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "spot_edge.cli", "data", "fetch", "ham10000"]
    command += ["--out", str(out), "--sources", str(challenges)]
    server.faults[IMAGES] = [("hold", 20_000)]
    part = out / "downloads" / f"{Path(IMAGES).name}.part"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (part.exists() and part.stat().st_size == 20_000):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert len(server.files[IMAGES]) > 20_000
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{out / 'ham10000.csv'}: written\n")
    assert "licence: CC BY-NC" in done.stderr
    assert server.requests[1] == (IMAGES, "bytes=20000-", 206)
    assert len(read_manifest(out / "ham10000.csv").items) == 8


def test_an_unknown_data_set_creates_no_folder(challenges: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(data, ["fetch", "cats", "--out", str(tmp_path / "cats")])
    assert isinstance(result.exception, DataError)
    assert not (tmp_path / "cats").exists()


def test_a_second_fetch_at_the_same_time_is_refused(fetched: Fetch) -> None:
    fcntl = pytest.importorskip("fcntl")
    fetched.out.mkdir()
    with open(fetched.out / ".lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another fetch"):
            fetched()


def test_a_failed_unpacking_leaves_no_folder(
    fetched: Fetch, server: Any, zipped: Callable[[dict[str, bytes]], bytes]
) -> None:
    server.files[IMAGES] = zipped({"a/ISIC_0000000.jpg": b"1"})
    with pytest.raises(DataError, match="7 of 8 images are not in any archive, the first is ISIC_0000001"):
        fetched()
    assert not [path for path in fetched.out.iterdir() if "images" in path.name]


def test_deleted_images_are_noticed(fetched: Fetch) -> None:
    fetched().unlink()
    (fetched.out / "images" / "ISIC_0000003.jpg").unlink()
    with pytest.raises(DataError, match="ISIC_0000003 is missing: remove the folder"):
        fetched()


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
def test_invalid_tables_are_refused(
    fetched: Fetch, server: Any, zipped: Callable[[dict[str, bytes]], bytes], text: bytes, complaint: str
) -> None:
    server.files[TRUTH] = zipped({"t.csv": text})
    with pytest.raises(DataError, match=complaint):
        fetched()


def test_missing_tables_and_columns_are_refused(
    fetched: Fetch, server: Any, zipped: Callable[[dict[str, bytes]], bytes]
) -> None:
    good = server.files[TRUTH]
    server.files[TRUTH] = zipped({"readme.md": b"-"})
    with pytest.raises(DataError, match="contains 0 CSV files"):
        fetched()
    server.files[TRUTH] = good
    server.files[GROUPS] = b"image,diagnosis_confirm_type\nISIC_0000000,histopathology\n"
    for path in ((fetched.out / "downloads").iterdir(), fetched.out.glob("digests.json")):
        for file in path:
            file.unlink()
    with pytest.raises(DataError, match="its tables lack the column 'lesion_id'"):
        fetched()


def test_an_invalid_digest_file_is_refused(fetched: Fetch) -> None:
    fetched().unlink()
    (fetched.out / "digests.json").write_text("[1]")
    with pytest.raises(DataError, match="not a table of digests"):
        fetched()
