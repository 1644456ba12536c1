"""Files for browsers, tested with an imitation of Chromium. `make check TARGET=browser` uses a real one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spot_convert.pipeline import convert_run
from spot_convert.runtimes.browser.chromium import litertjs_version
from spot_convert.runtimes.browser.interpreter import in_browser
from spot_convert.runtimes.predictions import Environments
from spot_edge import read_model
from spot_edge.errors import CheckError, DataError
from spot_edge.model.interpreter import Interpreter

# A program named chromium that does what the page does, with LiteRT instead of LiteRT.js.
IMITATION = """#!{python}
import sys, urllib.request
from spot_edge.model.interpreter import Interpreter
from spot_edge.model.file import verify
import numpy as np
url = sys.argv[-1]
def get(path): return urllib.request.urlopen(url + path)
def post(path, body): urllib.request.urlopen(urllib.request.Request(url + path, data=body)).read()
assert b"@litertjs/core" in get("").read()
assert get("node_modules/@litertjs/core/package.json").status == 200
model = Interpreter(verify(get("model.tflite").read(), "model.tflite"), threads=1)
try:
    get("node_modules/secret")
except urllib.error.HTTPError as error:
    assert error.code == 404
while True:
    work = get("next")
    if work.status == 204:
        continue
    size = model._engine.get_input_details()[0]["shape"]
    found = model.invoke(np.frombuffer(work.read(), np.uint8).reshape(size))
    {send}
"""
ALL = 'post("outputs", b"".join(found[key].astype("<f4").tobytes() for key in ("scores", "evidence", "embedding")))'


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder that looks as if npm installed LiteRT.js in it."""
    package = tmp_path / "web" / "node_modules" / "@litertjs" / "core"
    for name in ("dist/index.js", "wasm/litert_wasm_internal.js", "wasm/litert_wasm_internal.wasm"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).touch()
    (package / "package.json").write_text(json.dumps({"version": "2.5.3"}))
    (tmp_path / "web" / "node_modules" / "secret").touch()
    return tmp_path / "web"


def put_on_path(folder: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "chromium").write_text(program)
    (folder / "chromium").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def imitation(send: str) -> str:
    return IMITATION.format(python=sys.executable, send=send)


def test_litert_js_is_found_where_npm_puts_it(installed: Path) -> None:
    assert litertjs_version(installed) == "2.5.3"


def test_folders_without_litert_js_are_reported_with_what_to_do(installed: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"npm install @litertjs/core.*--browser"):
        litertjs_version(None)
    with pytest.raises(DataError, match=r"contains no node_modules/@litertjs/core: run 'npm install"):
        litertjs_version(tmp_path)
    package = installed / "node_modules" / "@litertjs" / "core"
    (package / "wasm" / "litert_wasm_internal.wasm").unlink()
    with pytest.raises(DataError, match=r"lacks wasm/litert_wasm_internal\.wasm"):
        litertjs_version(installed)
    (package / "package.json").write_text("[]")
    with pytest.raises(DataError, match="contains no"):
        litertjs_version(installed)


def test_without_folder_or_browser_nothing_is_converted(
    small_run: Path, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(DataError, match="name it with --browser"):
        convert_run(small_run, out, variants=["browser"], log=print)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="needs Chromium, and none is on the PATH"):
        convert_run(small_run, out, variants=["browser"], environments=Environments(browser=installed), log=print)
    assert not out.exists()


def test_tensors_go_to_the_page_and_outputs_come_back(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path / "bin", imitation(ALL), monkeypatch)
    model, random = read_model(), np.random.default_rng(0)
    own = Interpreter(model, threads=1)
    with in_browser(model, installed) as browser:
        assert browser.runtime == ("LiteRT.js", "2.5.3")
        for _ in range(3):
            tensor = random.integers(0, 256, (1, 192, 192, 3), dtype=np.uint8)
            theirs, ours = browser.invoke(tensor), own.invoke(tensor)
            assert theirs.keys() == ours.keys()
            for key, values in ours.items():
                np.testing.assert_array_equal(theirs[key], values)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("#!/bin/sh\nexit 0\n", "the browser exited without a result"),
        (imitation('post("failed", b"Error: none such\\nat line 1")'), r"LiteRT\.js \S+ cannot run it: .*none such$"),
        (imitation('post("outputs", b"1234")'), "returned 1 numbers instead of"),
    ],
    ids=["exits", "fails", "returns too little"],
)  # fmt: skip
def test_browser_errors_are_one_line(
    program: str, message: str, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path / "bin", program, monkeypatch)
    with in_browser(read_model(), installed) as browser, pytest.raises(CheckError, match=message):
        browser.invoke(np.zeros((1, 192, 192, 3), np.uint8))


def test_the_variant_is_fitted_on_the_browsers_outputs(
    small_run: Path, small_file: Callable[[str], Path], installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path / "bin", imitation(ALL), monkeypatch)
    (made,) = convert_run(
        small_run, tmp_path / "out", variants=["browser"], environments=Environments(browser=installed), log=print
    )
    spec, int8 = made.model.spec, read_model(small_file("int8")).spec
    assert (spec.variant, spec.measured_in) == ("browser", ("LiteRT.js", "2.5.3"))
    assert spec.temperature == int8.temperature  # the same body, and here the same kernels
    assert spec.drift is not None
