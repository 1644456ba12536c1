"""LiteRT.js as an interpreter: send tensors to a page in the browser, and receive the outputs."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.manifest import Manifest
from spot_bench.data.predictions import Predictions, predict
from spot_convert.runtimes.browser.chromium import litertjs_version, open_page
from spot_convert.variants.catalog import LITERT_JS
from spot_edge.classifier import Classifier
from spot_edge.errors import CheckError
from spot_edge.model.file import ModelFile
from spot_edge.model.interpreter import Interpreter, Runtime

__all__ = ["BrowserInterpreter", "browser_predictions", "in_browser"]

_TIMEOUT = 120.0  # seconds per image; the first image waits for the browser to start and compile
_POLL = 5.0  # seconds that the page waits for work before it asks again


class BrowserInterpreter(Interpreter):
    """A model in LiteRT.js. Open one with `in_browser`."""

    def __init__(self, model: ModelFile, version: str, page: _Exchange, process: subprocess.Popen[bytes]) -> None:
        self.runtime, self.threads = Runtime(LITERT_JS, version), 1
        self._model, self._page, self._process = model, page, process

    def invoke(self, tensor: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Return the outputs for `uint8[1,S,S,3]`. Raise CheckError if the browser fails."""
        self._page.work.put(tensor.tobytes())
        numbers = np.frombuffer(self._receive(), "<f4")
        shapes = {key: tensor.shape[1:] for key, tensor in self._model.signature.outputs.items()}
        ends = np.cumsum([prod(shape) for shape in shapes.values()])
        if len(numbers) != ends[-1]:
            raise CheckError(f"{self._model.name}: {LITERT_JS} returned {len(numbers)} numbers instead of {ends[-1]}")
        parts = np.split(numbers, ends[:-1])
        return {key: part.reshape(shape) for (key, shape), part in zip(shapes.items(), parts, strict=True)}

    def _receive(self) -> bytes:
        limit = time.monotonic() + _TIMEOUT
        while time.monotonic() < limit:
            try:
                outputs = self._page.outputs.get(timeout=1)
            except queue.Empty:
                if self._process.poll() is not None:
                    raise CheckError(f"{self._model.name}: the browser exited without a result") from None
                continue
            if isinstance(outputs, str):
                raise CheckError(f"{self._model.name}: {' '.join(self.runtime)} cannot run it: {outputs}")
            return outputs
        raise CheckError(f"{self._model.name}: no result from the browser within {_TIMEOUT:.0f} seconds")


class _Exchange:
    """The queues between this process and the page: tensors out, outputs (or an error, as text) back."""

    def __init__(self, model: ModelFile) -> None:
        self.model = model.content
        self.work: queue.Queue[bytes] = queue.Queue()
        self.outputs: queue.Queue[bytes | str] = queue.Queue()


@contextmanager
def in_browser(model: ModelFile, folder: Path) -> Iterator[BrowserInterpreter]:
    """Run `model` in the LiteRT.js of `folder`, in a browser that is closed at the end."""
    version, page = litertjs_version(folder), _Exchange(model)
    handler: Callable[..., Any] = partial(_Handler, page, directory=str(folder))
    with _Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with open_page(f"http://127.0.0.1:{server.server_port}/") as process:
                yield BrowserInterpreter(model, version, page, process)
        finally:
            server.shutdown()


def browser_predictions(model: ModelFile, images: Manifest, folder: Path, more: Callable[[int], None]) -> Predictions:
    """Predict every image in LiteRT.js."""
    with in_browser(model, folder) as interpreter:
        classifier = Classifier(model, interpreter=interpreter)
        return predict(classifier, images, lambda done, total: more(1), embeddings=True)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # the page may still be waiting for work

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # usually a page that was closed while it waited
            super().handle_error(request, client_address)


class _Handler(SimpleHTTPRequestHandler):
    """Serves the page, the model and LiteRT.js, and exchanges tensors for outputs."""

    protocol_version = "HTTP/1.1"
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".wasm": "application/wasm", ".js": "text/javascript"}

    def __init__(self, page: _Exchange, *arguments: Any, **options: Any) -> None:
        self._page = page
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        if self.path == "/":
            self._send(200, (files("spot_convert.runtimes.browser") / "runner.html").read_bytes(), "text/html")
        elif self.path == "/model.tflite":
            self._send(200, self._page.model, "application/octet-stream")
        elif self.path == "/next":
            try:
                self._send(200, self._page.work.get(timeout=_POLL), "application/octet-stream")
            except queue.Empty:
                self._send(204, b"", "application/octet-stream")
        elif self.path.startswith("/node_modules/@litertjs/"):
            super().do_GET()
        else:
            self._send(404, b"", "text/plain")

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/outputs":
            self._page.outputs.put(content)
        elif self.path == "/failed":
            self._page.outputs.put(content.decode(errors="replace").splitlines()[0][:300])
        self._send(200, b"", "text/plain")

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Log nothing: the terminal belongs to the command."""
