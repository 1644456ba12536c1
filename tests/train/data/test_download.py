"""Downloads from a server that disconnects, sends wrong data, or changes its files."""

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
from spot_train.data.download import RetryPolicy, download, part_of

BODY = bytes(range(256)) * 200
QUICK = RetryPolicy(tries=3, pause=0.01)  # the timeout stays long: a busy machine may delay the server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "file.bin"


def fetch(
    server: Any,
    target: Path,
    max_bytes: int = 10**6,
    message: list[str] | None = None,
    retries: RetryPolicy = QUICK,
    **options: Any,
) -> bool:
    server.files.setdefault("/file.bin", BODY)
    log = message.append if message is not None else lambda line: None
    return download(f"{server.url}/file.bin", target, max_bytes=max_bytes, log=log, retries=retries, **options)


def test_a_plain_download(server: Any, target: Path) -> None:
    assert fetch(server, target) is False
    assert part_of(target).read_bytes() == BODY
    assert not target.exists()


def test_an_interrupted_download_resumes(server: Any, target: Path) -> None:
    server.faults["/file.bin"] = [("break", 9000), ("break", 5000)]
    message: list[str] = []
    assert fetch(server, target, message=message) is True
    assert part_of(target).read_bytes() == BODY
    assert [(wanted, status) for _, wanted, status in server.requests] == [
        (None, 200),
        ("bytes=9000-", 206),
        ("bytes=14000-", 206),
    ]
    assert len(message) == 2
    assert "trying again" in message[0]


def test_a_stalled_download_resumes(server: Any, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server sends no more after 9000 bytes. Only then does the wait become short: a busy machine may be slow."""
    server.faults["/file.bin"] = [("hold", 9000)]
    message: list[str] = []
    opener, replies, timeouts = module._opener(), list[Any](), list[float]()

    def opened(request: urllib.request.Request, timeout: float) -> Any:
        timeouts.append(timeout)
        replies.append(opener.open(request, timeout=timeout))
        return replies[-1]

    def hurry(done: int, total: int | None) -> None:
        if done == 9000:
            replies[0].fp.raw._sock.settimeout(0.01)

    monkeypatch.setattr(module, "_opener", lambda: SimpleNamespace(open=opened))
    assert fetch(server, target, message=message, retries=replace(QUICK, timeout=600.0), progress=hurry) is True
    assert part_of(target).read_bytes() == BODY
    assert [(wanted, status) for _, wanted, status in server.requests] == [(None, 200), ("bytes=9000-", 206)]
    assert timeouts == [600.0, 600.0]
    assert "the connection broke at 9000 of 51200 bytes (timed out)" in message[0]


def test_a_later_process_resumes_the_download(server: Any, target: Path) -> None:
    server.faults["/file.bin"] = [("break", 9000), 404]
    with pytest.raises(DataError, match="404"):
        fetch(server, target)
    assert fetch(server, target) is True
    assert server.requests[-1] == ("/file.bin", "bytes=9000-", 206)
    assert part_of(target).read_bytes() == BODY
    assert fetch(server, target) is True  # complete: no request is made
    assert len(server.requests) == 3


def test_a_server_that_ignores_ranges_sends_the_whole_file(server: Any, target: Path) -> None:
    server.ranges = False
    server.faults["/file.bin"] = [("break", 9000)]
    assert fetch(server, target) is False
    assert part_of(target).read_bytes() == BODY
    assert [status for _, _, status in server.requests] == [200, 200]


def test_without_a_version_the_download_starts_over(server: Any, target: Path) -> None:
    server.faults["/file.bin"] = [("no name", None)]
    part_of(target).write_bytes(b"unknown bytes")
    assert fetch(server, target) is False
    assert server.requests[0][1] is None
    assert part_of(target).read_bytes() == BODY


def test_two_versions_of_a_file_are_not_mixed(server: Any, target: Path) -> None:
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
def test_a_wrong_range_starts_over(server: Any, target: Path, fault: str) -> None:
    server.faults["/file.bin"] = [("break", 9000), fault]
    assert fetch(server, target) is False
    assert part_of(target).read_bytes() == BODY


def test_temporary_server_errors_are_retried(server: Any, target: Path) -> None:
    server.faults["/file.bin"] = [500, 503]
    fetch(server, target)
    assert part_of(target).read_bytes() == BODY


def test_the_number_of_attempts_is_limited(server: Any, target: Path) -> None:
    server.faults["/file.bin"] = [500] * 9
    with pytest.raises(DataError, match="500 Internal Server Error; gave up after 3 attempts"):
        fetch(server, target)
    assert len(server.requests) == 3


def test_progress_resets_the_count_of_failures(server: Any, target: Path) -> None:
    server.files["/file.bin"] = BODY * 100
    server.faults["/file.bin"] = [("break", 1_100_000)] * 4
    fetch(server, target, max_bytes=10**7)
    assert part_of(target).read_bytes() == BODY * 100


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_not_retried(server: Any, target: Path, status: int) -> None:
    server.faults["/file.bin"] = [status]
    with pytest.raises(DataError, match=str(status)):
        fetch(server, target)
    assert len(server.requests) == 1


def test_a_file_shorter_than_announced_is_refused(server: Any, target: Path) -> None:
    server.faults["/file.bin"] = [("promise", 100)] * 9
    with pytest.raises(DataError, match=r"gave up|shorter than"):
        fetch(server, target)


def test_a_file_above_the_limit_is_refused(server: Any, target: Path) -> None:
    with pytest.raises(DataError, match="the limit is 1000"):
        fetch(server, target, max_bytes=1000)
    assert not part_of(target).exists()


def test_redirections_are_followed_but_never_to_files(server: Any, target: Path, tmp_path: Path) -> None:
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


def test_compressed_responses_and_other_statuses_are_refused(server: Any, target: Path) -> None:
    server.faults["/file.bin"] = ["compressed", 204]
    with pytest.raises(DataError, match="compressed"):
        fetch(server, target)
    with pytest.raises(DataError, match="answered 204"):
        fetch(server, target)


def test_https_is_never_redirected_to_http() -> None:
    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(DataError, match="refused"):
        module._Redirects().redirect_request(request, None, 302, "Found", {}, "http://example.org/a")  # type: ignore[arg-type]


def test_an_unreachable_server_is_reported(server: Any, target: Path) -> None:
    url = server.url
    server.stop()
    with pytest.raises(DataError, match="cannot reach the server"):
        download(f"{url}/file.bin", target, max_bytes=1, log=lambda line: None, retries=QUICK)


def test_an_invalid_certificate_is_not_retried(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = ssl.SSLCertVerificationError(1, "no")
    error.verify_message = "self-signed certificate"

    def refuse(*args: object, **named: object) -> None:
        raise urllib.error.URLError(error)

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", refuse)
    with pytest.raises(DataError, match="certificate is invalid: self-signed"):
        download("https://127.0.0.1/x", target, max_bytes=1, log=lambda line: None, retries=QUICK)


def test_a_full_disk_is_reported_before_and_during_the_download(
    server: Any, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
        with pytest.raises(OutputError, match="51200 bytes are needed, but only 10 are free"):
            fetch(server, target)
    part_of(target).mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        fetch(server, target)


def test_a_foreign_state_file_starts_over(server: Any, target: Path) -> None:
    part_of(target).write_bytes(b"x" * 10)
    part_of(target).with_name("file.bin.part.json").write_text(json.dumps({"url": "http://other/", "validator": '"x"'}))
    fetch(server, target)
    assert part_of(target).read_bytes() == BODY
