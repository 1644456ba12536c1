"""Downloads from a server that breaks off, lies, forgets and changes."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spot_edge.errors import DataError, OutputError
from spot_train.data import download as module
from spot_train.data.download import Patience, download, part_of

BODY = bytes(range(256)) * 200
QUICK = Patience(tries=3, pause=0.01)  # but patient with a server that a busy machine keeps waiting


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "file.bin"


def fetch(
    server: Any, target: Path, most: int = 10**6, said: list[str] | None = None, patience: Patience = QUICK
) -> bool:
    server.files.setdefault("/file.bin", BODY)
    say = said.append if said is not None else lambda line: None
    return download(f"{server.url}/file.bin", target, most=most, say=say, patience=patience)


def test_a_quiet_download(server: Any, target: Path) -> None:
    assert fetch(server, target) is False
    assert part_of(target).read_bytes() == BODY
    assert not target.exists()


@pytest.mark.parametrize("fault", [("break", 9000), "stall"])
def test_what_broke_off_is_taken_up(server: Any, target: Path, fault: object) -> None:
    server.faults["/file.bin"] = [fault, ("break", 5000)]
    said: list[str] = []
    patience = replace(QUICK, timeout=2.0) if fault == "stall" else QUICK
    assert fetch(server, target, said=said, patience=patience) is True
    assert part_of(target).read_bytes() == BODY
    (_, first, _), (_, second, status), (_, third, _) = server.requests
    assert first is None
    assert second in ("bytes=9000-", f"bytes={len(BODY) // 2}-")
    assert status == 206
    assert int(str(third)[6:-1]) == int(str(second)[6:-1]) + 5000
    assert len(said) == 2
    assert "trying again" in said[0]


def test_a_later_process_takes_up_what_is_there(server: Any, target: Path) -> None:
    server.faults["/file.bin"] = [("break", 9000), 404]
    with pytest.raises(DataError, match="404"):
        fetch(server, target)
    assert fetch(server, target) is True
    assert server.requests[-1] == ("/file.bin", "bytes=9000-", 206)
    assert part_of(target).read_bytes() == BODY
    assert fetch(server, target) is True  # whole: nobody is asked
    assert len(server.requests) == 3


def test_a_server_that_ignores_ranges(server: Any, target: Path) -> None:
    server.ranges = False
    server.faults["/file.bin"] = [("break", 9000)]
    assert fetch(server, target) is False
    assert part_of(target).read_bytes() == BODY
    assert [status for _, _, status in server.requests] == [200, 200]


def test_a_server_that_names_no_version_starts_over(server: Any, target: Path) -> None:
    server.faults["/file.bin"] = [("no name", None)]
    part_of(target).write_bytes(b"who knows what this was")
    assert fetch(server, target) is False
    assert server.requests[0][1] is None
    assert part_of(target).read_bytes() == BODY


def test_content_that_changes_between_attempts_is_not_mixed(server: Any, target: Path) -> None:
    server.faults["/file.bin"] = [("break", 9000), 404]
    with pytest.raises(DataError):
        fetch(server, target)
    server.files["/file.bin"] = BODY[::-1]
    assert fetch(server, target) is False
    assert part_of(target).read_bytes() == BODY[::-1]


def test_a_file_that_shrank_starts_over(server: Any, target: Path) -> None:
    server.faults["/file.bin"] = [("break", 9000), 404]
    with pytest.raises(DataError):
        fetch(server, target)
    server.faults["/file.bin"] = [416]
    assert fetch(server, target) is False
    assert part_of(target).read_bytes() == BODY


@pytest.mark.parametrize("fault", ["another piece", "another size"])
def test_another_piece_than_asked_for(server: Any, target: Path, fault: str) -> None:
    server.faults["/file.bin"] = [("break", 9000), fault]
    assert fetch(server, target) is False
    assert part_of(target).read_bytes() == BODY


def test_a_server_that_recovers(server: Any, target: Path) -> None:
    server.faults["/file.bin"] = [500, 503]
    fetch(server, target)
    assert part_of(target).read_bytes() == BODY


def test_attempts_are_bounded(server: Any, target: Path) -> None:
    server.faults["/file.bin"] = [500] * 9
    with pytest.raises(DataError, match="500 Internal Server Error; given up after 3 attempts"):
        fetch(server, target)
    assert len(server.requests) == 3


def test_progress_earns_further_attempts(server: Any, target: Path) -> None:
    server.files["/file.bin"] = BODY * 100
    server.faults["/file.bin"] = [("break", 1_100_000)] * 4
    fetch(server, target, most=10**7)
    assert part_of(target).read_bytes() == BODY * 100


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_believed_at_once(server: Any, target: Path, status: int) -> None:
    server.faults["/file.bin"] = [status]
    with pytest.raises(DataError, match=str(status)):
        fetch(server, target)
    assert len(server.requests) == 1


def test_a_promise_of_more_than_comes(server: Any, target: Path) -> None:
    server.faults["/file.bin"] = [("promise", 100)] * 9
    with pytest.raises(DataError, match=r"given up|less than"):
        fetch(server, target)


def test_more_than_may_come_is_refused(server: Any, target: Path) -> None:
    with pytest.raises(DataError, match="more than the 1000 that it may have"):
        fetch(server, target, most=1000)
    assert not part_of(target).exists()


def test_redirections_are_followed_and_never_to_files(server: Any, target: Path, tmp_path: Path) -> None:
    server.files["/elsewhere"] = BODY
    server.faults["/file.bin"] = [("to", "/elsewhere"), ("to", tmp_path.as_uri())]
    fetch(server, target)
    assert part_of(target).read_bytes() == BODY
    with pytest.raises(DataError, match="302"):
        fetch(server, tmp_path / "other")
    server.faults["/file.bin"] = [("to", "/file.bin")] * 99
    with pytest.raises(DataError) as caught:
        fetch(server, tmp_path / "circle")
    assert "\n" not in str(caught.value)


def test_compressed_answers_and_statuses_of_no_use(server: Any, target: Path) -> None:
    server.faults["/file.bin"] = ["compressed", 204]
    with pytest.raises(DataError, match="compressed"):
        fetch(server, target)
    with pytest.raises(DataError, match="answers 204"):
        fetch(server, target)


def test_https_never_leads_to_http() -> None:
    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(DataError, match="refused"):
        module._Redirects().redirect_request(request, None, 302, "Found", {}, "http://example.org/a")  # type: ignore[arg-type]


def test_a_server_that_is_not_there(server: Any, target: Path) -> None:
    url = server.url
    server.stop()
    with pytest.raises(DataError, match="cannot be reached"):
        download(f"{url}/file.bin", target, most=1, say=lambda line: None, patience=QUICK)


def test_a_certificate_is_not_tried_twice(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = ssl.SSLCertVerificationError(1, "no")
    error.verify_message = "self-signed certificate"

    def refuse(*args: object, **named: object) -> None:
        raise urllib.error.URLError(error)

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", refuse)
    with pytest.raises(DataError, match="certificate is not accepted: self-signed"):
        download("https://127.0.0.1/x", target, most=1, say=lambda line: None, patience=QUICK)


def test_a_full_disk_is_seen_before_and_while(server: Any, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
        with pytest.raises(OutputError, match="51200 bytes are needed and 10 are free"):
            fetch(server, target)
    part_of(target).mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        fetch(server, target)


def test_a_spoilt_state_file_starts_over(server: Any, target: Path) -> None:
    part_of(target).write_bytes(b"x" * 10)
    part_of(target).with_name("file.bin.part.json").write_text(json.dumps({"url": "http://other/", "validator": '"x"'}))
    fetch(server, target)
    assert part_of(target).read_bytes() == BODY
