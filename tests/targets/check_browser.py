"""LiteRT.js in a real Chromium: the variant `browser`, and the page and module that `examples/web` offers to apps.

Run by `make check TARGET=browser`, which installs LiteRT.js into build/web, with `-s` to show the figures. FAMILY in the environment
is a folder of further model files to compare.
"""

from __future__ import annotations

import html
import json
import os
import queue
import re
import shutil
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from ham10000 import first_images

from spot_bench.commands.bench import bench
from spot_bench.data.drawn import KINDS, draw_lesion, draw_shapes
from spot_bench.data.predictions import load_predictions
from spot_convert.commands.kit import kit
from spot_convert.pipeline import convert_run
from spot_convert.runtimes.browser.chromium import litertjs_version, open_page
from spot_convert.runtimes.browser.interpreter import in_browser
from spot_convert.runtimes.predictions import Environments
from spot_convert.variants.catalog import LITERT_JS
from spot_edge import Classifier, read_model
from spot_edge.errors import CheckError
from spot_edge.image.source import Source
from spot_edge.image.tensor import prepare, to_tensor
from spot_edge.model.file import ModelFile
from spot_edge.model.interpreter import Interpreter

REPOSITORY = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("LITERTJS", REPOSITORY / "build" / "web"))
FILES = [None, *sorted(Path(os.environ["FAMILY"]).glob("*.tflite"))] if "FAMILY" in os.environ else [None]
IMAGES, TOLERANCE, PATIENCE = 60, 0.02, 120
REPORTING = b"""<script type="module">
const report = () => fetch("/finished", {method: "POST", body: document.documentElement.outerHTML});
new MutationObserver(() => ["done", "failed"].includes(document.body.dataset.state) && report())
  .observe(document.body, {attributes: true});
</script>"""


class Handler(SimpleHTTPRequestHandler):
    """The folder as it is, but pages tell when they have finished."""

    def __init__(self, finished: queue.Queue[str], *arguments: Any, **options: Any) -> None:
        self.finished = finished
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.suffix != ".html":
            super().do_GET()
            return
        content = path.read_bytes() + REPORTING
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.finished.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an app developer's folder holds: the example, the embedded model, its kit, LiteRT.js."""
    folder = tmp_path_factory.mktemp("site")
    for file in [*(REPOSITORY / "examples" / "web").iterdir(), *(REPOSITORY / "examples").glob("*.jpg")]:
        shutil.copy(file, folder)
    (folder / "node_modules").symlink_to((FOLDER / "node_modules").resolve())
    (folder / "spot.tflite").write_bytes(read_model().content)
    done = CliRunner().invoke(kit, ["export", "--out", str(folder / "kit")], catch_exceptions=False)
    assert done.exit_code == 0
    return folder


def finished_page(site: Path, page: str) -> str:
    """The page as it is once it has done its work, in a Chromium."""
    finished: queue.Queue[str] = queue.Queue()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, finished, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with open_page(f"http://127.0.0.1:{server.server_port}/{page}"):
                return finished.get(timeout=PATIENCE)
        finally:
            server.shutdown()


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_says_what_the_device_says(site: Path, kind: str) -> None:
    (picture,) = (REPOSITORY / "examples").glob(f"drawn-{kind}-*.jpg")
    ours = Classifier.load(threads=1).classify(picture)
    page = html.unescape(finished_page(site, f"index.html?picture={picture.name}"))
    assert 'data-state="done"' in page
    scores = {name: float(score) for name, score in re.findall(r'<span>(.*?)</span><span class="score">(.*?)<', page)}
    assert scores.keys() == {each.name + " (malignant)" * bool(each.malignant) for each in ours.ranked}
    gaps = [abs(scores[each.name + " (malignant)" * bool(each.malignant)] - each.score) for each in ours.ranked]
    assert max(gaps) <= TOLERANCE + 0.005  # which are printed with two digits
    heading = re.search("<h2.*?>(.*?)</h2>", page)
    assert heading is not None
    if ours.triage.category != "cannot assess":  # the page does not measure how well a picture was taken
        assert heading[1].lower() == ours.triage.category
        assert (f"Near tie: {ours.top.name}" in page) == ours.near_tie
    assert "An aid for trained people, not a diagnosis." in page


def test_the_page_says_that_two_classes_score_alike(site: Path) -> None:
    classifier = Classifier.load(threads=1)
    lesions = ((lesion, classifier.classify(np.asarray(lesion))) for lesion in map(draw_lesion, range(200)))
    drawn, ours = next(both for both in lesions if both[1].near_tie)
    drawn.save(site / "tie.png")
    first, second = ours.ranked[:2]
    page = html.unescape(finished_page(site, "index.html?picture=tie.png"))
    assert f"Near tie: {first.name} and {second.name} score alike" in page


def test_the_module_conforms_to_the_kit(site: Path) -> None:
    page = finished_page(site, "check.html")
    found = re.search('<pre id="results".*?>(.*?)</pre>', page, re.DOTALL)
    assert found is not None
    assert 'data-state="done"' in page
    (site / "results.json").write_text(html.unescape(found[1]))
    done = CliRunner().invoke(kit, ["check", str(site / "kit"), str(site / "results.json")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    known = json.loads((site / "kit" / "vectors.json").read_text())["images"]
    fed = {
        entry["image"]: entry["input_sha256"] for entry in json.loads((site / "results.json").read_text())["results"]
    }
    right = [
        fed[each[part]] == each["outputs"]["spot-edge"]["input_sha256"] for each in known for part in ("image", "input")
    ]
    assert all(right)  # bytes that Pillow and the canvas agree about


@pytest.mark.parametrize("pictures", ["drawn", "HAM10000"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name if file else "embedded")
def test_the_same_tensor_gets_the_devices_scores(file: Path | None, pictures: str) -> None:
    model, gaps, agree, milliseconds = read_model(file), [], 0, []
    device = Interpreter(model, threads=1)
    with in_browser(model, FOLDER) as browser:
        for tensor in drawn(model) if pictures == "drawn" else ham10000(model):
            start = time.perf_counter()
            theirs = browser.invoke(tensor)["scores"]
            milliseconds.append(1e3 * (time.perf_counter() - start))
            ours = device.invoke(tensor)["scores"]
            gaps.append(float(np.abs(theirs - ours).max()))
            agree += int(theirs.argmax() == ours.argmax())
    print(
        f"\n{Path(model.name).name} in LiteRT.js {litertjs_version(FOLDER)}, n={len(gaps)} {pictures}: "
        f"largest |score - device's| {max(gaps):.1e}, mean over pictures {np.mean(gaps):.1e}, same first rank {agree}; "
        f"{np.median(milliseconds):.0f} ms a picture with its way to the page and back"
    )
    assert max(gaps) <= TOLERANCE


def drawn(model: ModelFile) -> Iterator[np.ndarray]:
    for seed in range(IMAGES):
        yield to_tensor(draw_lesion(seed, 320, 240, KINDS[seed % len(KINDS)]), model.spec.image)[0]


def ham10000(model: ModelFile) -> Iterator[np.ndarray]:
    for content in first_images(IMAGES):
        yield prepare(Source.of(content), model.spec.image).tensor


def test_the_variant_is_fitted_and_judged_in_the_browser(shapes_run: Path, tmp_path: Path) -> None:
    made = convert_run(
        shapes_run, tmp_path / "out", variants=["int8", "browser"], environments=Environments(browser=FOLDER), log=print
    )
    int8, browser = (converted.model.spec for converted in made)
    assert (browser.variant, browser.measured_in) == ("browser", (LITERT_JS, litertjs_version(FOLDER)))
    assert browser.temperature == pytest.approx(int8.temperature, abs=1e-3)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["files"][1]["measured_in"] == {"runtime": LITERT_JS, "version": litertjs_version(FOLDER)}


def test_its_answers_to_other_images_are_kept(shapes_run: Path, tmp_path: Path) -> None:
    convert_run(
        shapes_run, tmp_path / "out", variants=["browser"], environments=Environments(browser=FOLDER), log=print
    )
    draw_shapes(tmp_path / "data", 4, 99)
    model = read_model(tmp_path / "out" / "shapes-browser.tflite")
    told = [
        "predict",
        model.name,
        "--in-runtime",
        "--data",
        tmp_path / "data",
        "--split",
        "all",
        "--out",
        tmp_path,
        "--browser",
        FOLDER,
    ]
    assert CliRunner().invoke(bench, list(map(str, told)), catch_exceptions=False).exit_code == 0
    kept, device = load_predictions(tmp_path / "predictions.npz"), Interpreter(model, threads=1)
    assert (kept.model["runtime"], len(kept.images)) == (LITERT_JS, 12)
    for name, scores in zip(kept.images, kept.scores, strict=True):
        tensor = prepare(Source.of(tmp_path / "data" / str(name)), model.spec.image).tensor
        np.testing.assert_allclose(scores, device.invoke(tensor)["scores"], atol=TOLERANCE)


def test_a_file_that_it_cannot_run_is_refused_with_its_reason() -> None:
    model = read_model()
    broken = ModelFile(model.name, model.id, model.content[:1000], model.spec, model.signature, model.members)
    with (
        in_browser(broken, FOLDER) as browser,
        pytest.raises(CheckError, match=r"LiteRT\.js \S+ cannot run it: \S+"),
    ):
        browser.invoke(next(drawn(model)))
