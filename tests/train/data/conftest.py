"""A web server that fails on request, and small archives laid out like those of the ISIC challenges."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

BUCKET = "https://isic-challenge-data.s3.amazonaws.com"


class Server:
    """Serve `files` by path. `faults[path]` lists the faults of the next requests, one each:

    a number (an error status), `("break", n)` (n bytes, then the connection ends), `("hold", n)` (n bytes, then
    nothing until the client disconnects), `("promise", n)` (n bytes too many in Content-Length, or too few),
    `("send", bytes)`, `("to", path)`, `"no range"`, `"no name"` (no ETag), `"another piece"`, `"another size"`,
    `"compressed"`, or None.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Any]] = {}
        self.requests: list[tuple[str, str | None, int]] = []  # path, range, status
        self.ranges = True
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        return Handler

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path, wanted = request.path, request.headers.get("Range")
        queue = self.faults.get(path, [])
        fault = queue.pop(0) if queue else None
        kind, value = fault if isinstance(fault, tuple) else (fault, None)

        def head(status: int, headers: dict[str, object]) -> None:
            self.requests.append((path, wanted, status))
            request.send_response(status)
            for name, text in headers.items():
                request.send_header(name, str(text))
            request.end_headers()

        if path not in self.files or isinstance(kind, int):
            head(kind if isinstance(kind, int) else 404, {"Content-Length": 0})
            return
        if kind == "to":
            head(302, {"Location": value, "Content-Length": 0})
            return
        body = value if kind == "send" else self.files[path]
        tag = '"' + hashlib.md5(body).hexdigest() + '"'
        headers: dict[str, object] = {} if kind == "no name" else {"ETag": tag}
        if kind == "compressed":
            headers["Content-Encoding"] = "gzip"
        start = 0
        if wanted and self.ranges and kind != "no range" and request.headers.get("If-Range", tag) == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                head(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": 0})
                return
            start += kind == "another piece"
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body) + (kind == 'another size')}"
        rest = body[start:]
        headers["Content-Length"] = len(rest) + (value if kind == "promise" else 0)
        head(206 if "Content-Range" in headers else 200, headers)
        with suppress(OSError):  # the client has disconnected
            request.wfile.write(rest[:value] if kind in ("break", "hold") else rest)
            if kind == "hold":
                request.rfile.read(1)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


def _zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.fixture(scope="session")
def zipped() -> Callable[[dict[str, bytes]], bytes]:
    return _zipped


@pytest.fixture(scope="session")
def jpegs() -> list[bytes]:
    """Images of clouds, all different."""
    return [cloud(seed) for seed in range(12)]


def cloud(seed: int, side: int = 128) -> bytes:
    """A JPEG with structure at every scale, like a photograph."""
    random, picture = np.random.default_rng(seed), Image.new("L", (side, side), 128)
    for cells in (3, 7, 16, 40):
        noise = Image.fromarray(random.integers(0, 256, (cells, cells), np.uint8)).resize((side, side))
        picture = Image.blend(picture, noise, 0.4)
    packed = io.BytesIO()
    picture.convert("RGB").save(packed, "JPEG", quality=95)
    return packed.getvalue()


@pytest.fixture
def challenges(server: Server, jpegs: list[bytes], tmp_path: Path) -> Path:
    """The official list of sources with its addresses pointing to `server`, which has small versions of all files."""
    names = [f"ISIC_{number:07}" for number in range(8)]
    images = {f"Input/{name}.jpg": jpeg for name, jpeg in zip(names, jpegs, strict=False)}
    texts = {"Input/LICENSE.txt": b"CC BY-NC", "Input/ATTRIBUTION.txt": b"HAM10000"}
    seven = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
    truth = seven + "".join(
        f"{name},{','.join('1.0' if i == n % 7 else '0.0' for i in range(7))}\n" for n, name in enumerate(names)
    )
    server.files["/2018/ISIC2018_Task3_Training_Input.zip"] = _zipped(images | texts)
    server.files["/2018/ISIC2018_Task3_Training_GroundTruth.zip"] = _zipped(
        {"GT/GT.csv": truth.encode(), "__MACOSX/GT/._GT.csv": b"x"}
    )
    groups = [f"{name},HAM_{number // 2},histopathology\n" for number, name in enumerate(names)]
    server.files["/2018/ISIC2018_Task3_Training_LesionGroupings.csv"] = (
        "image,lesion_id,diagnosis_confirm_type\n" + "".join(groups)
    ).encode()
    halves = [dict(list(images.items())[:5]), dict(list(images.items())[5:])]
    for part, half in zip(("Training", "Validation"), halves, strict=True):
        extra = {name.replace(".jpg", "_superpixels.png"): b"png" for name in half}
        server.files[f"/2017/ISIC-2017_{part}_Data.zip"] = _zipped(half | extra)
        stems = [Path(name).stem for name in half]
        rows = [f"{stem},{float(i == 0)},{float(i == 1)}\n" for i, stem in enumerate(stems)]
        server.files[f"/2017/ISIC-2017_{part}_Part3_GroundTruth.csv"] = (
            "image_id,melanoma,seborrheic_keratosis\n" + "".join(rows)
        ).encode()
    eight = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"
    rows = [f"{name},{','.join('1.0' if i == n + 1 else '0.0' for i in range(9))}\n" for n, name in enumerate(names)]
    server.files["/2019/ISIC_2019_Training_Input.zip"] = server.files["/2018/ISIC2018_Task3_Training_Input.zip"]
    server.files["/2019/ISIC_2019_Training_GroundTruth.csv"] = (eight + "".join(rows)).encode()
    server.files["/2019/ISIC_2019_Training_Metadata.csv"] = (
        "image,age_approx,anatom_site_general,lesion_id,sex\n"
        + "".join(f"{n},{'' if i else '55.0'},torso,{'MSK4_1' if i < 2 else ''},female\n" for i, n in enumerate(names))
    ).encode()
    path = tmp_path / "mirror.toml"
    official = (resources.files("spot_train.data") / "sources.toml").read_text(encoding="utf-8")
    path.write_text(official.replace(BUCKET, server.url), encoding="utf-8")
    return path
