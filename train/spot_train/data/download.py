"""Download one file over HTTP, and resume after any interruption.

The bytes go into `NAME.part`. `NAME.part.json` records the server's name for this version of the file (ETag or
Last-Modified). A later attempt asks for the rest on condition (If-Range) that the version is unchanged. If the server
sends the whole file instead, because it changed or because the server does not support ranges, the download starts
over. This module does not check the content: `verify` does.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from spot_edge.errors import DataError, OutputError
from spot_edge.files import write_file

__all__ = ["RetryPolicy", "discard", "download", "part_of"]

_CHUNK = 1 << 18
_PROGRESS = 1 << 20  # bytes of progress that reset the count of failures
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_TRY_LATER = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait for the server, and how often to retry without progress."""

    timeout: float = 30.0
    tries: int = 6
    pause: float = 1.0  # seconds, doubled each time


class _Retry(Exception):
    """This attempt failed, but another one may succeed."""


def part_of(target: Path) -> Path:
    """Return the path of an unfinished download of `target`."""
    return target.with_name(f"{target.name}.part")


def discard(part: Path) -> None:
    """Remove an unfinished download."""
    _state_of(part).unlink(missing_ok=True)  # first: without it, the bytes are never resumed
    part.unlink(missing_ok=True)


def download(
    url: str,
    target: Path,
    *,
    max_bytes: int,
    log: Callable[[str], None],
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    retries: RetryPolicy = RetryPolicy(),
) -> bool:
    """Download `url` into `part_of(target)`, resuming an earlier attempt. Return whether it resumed one.

    `progress` is called with the bytes so far and the total, or None if unknown. DataError if the server refuses or
    fails too often; OutputError if the disk is full.
    """
    attempt = _Download(url, part_of(target), max_bytes, progress, retries)
    failures = 0
    while True:
        before = attempt.have()
        try:
            attempt.run()
            return attempt.resumed
        except _Retry as failed:
            failures = 0 if attempt.have() >= before + _PROGRESS else failures + 1
            if failures >= retries.tries:
                raise DataError(
                    f"{url}: {failed}; gave up after {failures} attempts. Run the command again to resume"
                ) from None
            wait = retries.pause * 2 ** max(failures - 1, 0)
            log(f"{target.name}: {failed}; trying again in {wait:.0f} s")
            time.sleep(wait)


class _Download:
    def __init__(
        self, url: str, part: Path, max_bytes: int, progress: Callable[[int, int | None], None], retries: RetryPolicy
    ) -> None:
        self._url, self._part, self._max_bytes, self._progress = url, part, max_bytes, progress
        self._timeout = retries.timeout
        self._state = _state_of(part)
        self._opener = _opener()
        self.resumed = False

    def have(self) -> int:
        """Return the number of bytes so far."""
        return self._part.stat().st_size if self._part.exists() else 0

    def run(self) -> None:
        """Make one request. Raise _Retry if another one may help."""
        state = self._saved_state()
        have = self.have() if state else 0
        if state and have and have == state.get("total"):
            self.resumed = True  # complete, but the process ended before it was verified
            return
        headers = {"Accept-Encoding": "identity", "User-Agent": "spot-edge"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": str(state["validator"])}
        try:
            with self._opener.open(urllib.request.Request(self._url, headers=headers), timeout=self._timeout) as reply:
                self._take(reply, state, have)
        except urllib.error.HTTPError as error:
            with error:
                self._fail_or_retry(error, have)
        except urllib.error.URLError as error:
            self._not_reached(error.reason)
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            self._not_reached(error)

    def _take(self, reply: http.client.HTTPResponse, state: dict[str, Any], have: int) -> None:
        if reply.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise DataError(f"{self._url}: the server sent a compressed reply, which was not requested")
        if reply.status not in (200, 206):
            raise DataError(f"{self._url}: the server answered {reply.status} {reply.reason}")
        if reply.status == 206:
            start, total = _range(reply)
            validator = _validator(reply)
            if not have or start != have or (validator and validator != state["validator"]):
                self._start_over()
                raise _Retry("the server sent another range than requested")
            if state.get("total") not in (None, total):
                self._start_over()
                raise _Retry("the server reported another size than before")
            self.resumed = True
        else:
            self._start_over()
            have, total = 0, _length(reply)
            if validator := _validator(reply):
                state = {"url": self._url, "validator": validator, "total": total}
                write_file(self._state, json.dumps(state).encode())
        if (total or 0) > self._max_bytes:
            self._start_over()
            raise DataError(f"{self._url}: has {total} bytes; the limit is {self._max_bytes}")
        self._check_space(total, have)
        self._copy(reply, have, total)

    def _copy(self, reply: http.client.HTTPResponse, have: int, total: int | None) -> None:
        with _opened(self._part, "ab" if have else "wb") as file:
            while chunk := self._read_chunk(reply, have, total):
                try:
                    file.write(chunk)
                    file.flush()  # reports a full disk now, and keeps the bytes if the process is killed
                except OSError as error:
                    raise OutputError(f"{self._part}: cannot be written: {error.strerror or error}") from error
                have += len(chunk)
                if have > self._max_bytes:
                    self._start_over()
                    raise DataError(f"{self._url}: sends more than the limit of {self._max_bytes} bytes")
                self._progress(have, total)
        if total is not None and have < total:
            raise _Retry(f"the connection ended at {have} of {total} bytes")
        if total is not None and have > total:
            self._start_over()
            raise _Retry(f"the server sent {have} bytes but announced {total}")

    def _read_chunk(self, reply: http.client.HTTPResponse, have: int, total: int | None) -> bytes:
        try:
            return reply.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            whole = f" of {total}" if total is not None else ""
            raise _Retry(f"the connection broke at {have}{whole} bytes ({_reason(error)})") from error

    def _fail_or_retry(self, error: urllib.error.HTTPError, have: int) -> None:
        if error.code == 416 and have:  # the file is no longer than these bytes, so they are not its beginning
            self._start_over()
            raise _Retry("the server's file is shorter than the bytes already here")
        reason, _, _ = str(error.reason).partition("\n")
        answer = f"the server answered {error.code} {reason}"
        if error.code in _TRY_LATER:
            raise _Retry(answer)
        raise DataError(f"{self._url}: {answer}") from None

    def _not_reached(self, reason: object) -> None:
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DataError(f"{self._url}: its certificate is invalid: {reason.verify_message}") from None
        raise _Retry(f"cannot reach the server ({_reason(reason)})") from None

    def _check_space(self, total: int | None, have: int) -> None:
        free = shutil.disk_usage(self._part.parent).free
        if total is not None and total - have > free:
            raise OutputError(f"{self._part.parent}: {total - have} bytes are needed, but only {free} are free")

    def _saved_state(self) -> dict[str, Any]:
        """Return the recorded version of the partial download; empty if it cannot be resumed."""
        try:
            state = json.loads(self._state.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        usable = isinstance(state, dict) and state.get("url") == self._url and state.get("validator")
        return state if usable else {}

    def _start_over(self) -> None:
        discard(self._part)
        self.resumed = False


def _state_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and not newurl.startswith("https:"):
            raise DataError(f"{req.full_url}: refused a redirect from https to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https only, so that no address or redirection reaches a local file."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        _Redirects,
    ):
        opener.add_handler(handler())
    return opener


def _opened(path: Path, mode: str) -> IO[bytes]:
    try:
        return open(path, mode)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def _validator(reply: http.client.HTTPResponse) -> str | None:
    """Return the name of this version of the file for If-Range, or None if the server gives none."""
    tag = reply.headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return str(tag)
    return reply.headers.get("Last-Modified")


def _range(reply: http.client.HTTPResponse) -> tuple[int, int | None]:
    found = _RANGE.fullmatch(reply.headers.get("Content-Range", "").strip())
    if not found:
        return -1, None
    return int(found[1]), None if found[3] == "*" else int(found[3])


def _length(reply: http.client.HTTPResponse) -> int | None:
    with suppress(ValueError):
        return int(reply.headers.get("Content-Length", ""))
    return None


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
