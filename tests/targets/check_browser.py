"""Check the variant `browser` and the page and module in `examples/web` with LiteRT.js in a real Chromium.

`make check TARGET=browser` runs this with `-s`, to show the figures, and installs LiteRT.js into build/web. The
environment variable FAMILY names a folder of further model files to compare.
"""

from __future__ import annotations

import html
import io
import json
import os
import queue
import re
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from images import drawn_lesions, first_images
from in_runtime import predict_in_runtime, tensor_of

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
from spot_edge.model.file import ModelFile, seal
from spot_edge.model.interpreter import Interpreter
from spot_edge.model.spec import ImageSpec

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
    """Serve the folder, with a script added to each page that reports when the page has finished."""

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
    """The example with the embedded model."""
    return site_of(tmp_path_factory.mktemp("site"), read_model().content)


def site_of(folder: Path, content: bytes) -> Path:
    """Fill a folder as an app developer has it: the example, a model file, its kit and LiteRT.js."""
    for file in [*(REPOSITORY / "examples" / "web").iterdir(), *(REPOSITORY / "examples").glob("*.jpg")]:
        shutil.copy(file, folder)
    (folder / "node_modules").symlink_to((FOLDER / "node_modules").resolve())
    (folder / "spot.tflite").write_bytes(content)
    arguments = ["export", str(folder / "spot.tflite"), "--out", str(folder / "kit")]
    done = CliRunner().invoke(kit, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return folder


def finished_page(site: Path, page: str) -> str:
    """Open the page in Chromium and return its HTML once it has finished."""
    finished: queue.Queue[str] = queue.Queue()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, finished, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with open_page(f"http://127.0.0.1:{server.server_port}/{page}"):
                return finished.get(timeout=PATIENCE)
        finally:
            server.shutdown()


@pytest.mark.parametrize("kind", KINDS)
def test_page_shows_the_prediction_of_the_device(site: Path, kind: str) -> None:
    (image,) = (REPOSITORY / "examples").glob(f"drawn-{kind}-*.jpg")
    ours = Classifier.load(threads=1).classify(image)
    page = html.unescape(finished_page(site, f"index.html?picture={image.name}"))
    assert 'data-state="done"' in page
    scores = {name: float(score) for name, score in re.findall(r'<span>(.*?)</span><span class="score">(.*?)<', page)}
    assert scores.keys() == {each.name + " (malignant)" * bool(each.malignant) for each in ours.ranked}
    gaps = [abs(scores[each.name + " (malignant)" * bool(each.malignant)] - each.score) for each in ours.ranked]
    assert max(gaps) <= TOLERANCE + 0.005  # the page rounds to two digits
    heading = re.search("<h2.*?>(.*?)</h2>", page)
    assert heading is not None
    if ours.triage.category != "cannot assess":  # the page has no image quality check
        assert heading[1].lower() == ours.triage.category
        assert (f"Near tie: {ours.top.name}" in page) == ours.near_tie
    assert "An aid for trained people, not a diagnosis." in page


def test_page_shows_a_near_tie(site: Path) -> None:
    classifier = Classifier.load(threads=1)
    lesions = ((lesion, classifier.classify(np.asarray(lesion))) for lesion in map(draw_lesion, range(200)))
    drawn, ours = next(both for both in lesions if both[1].near_tie)
    drawn.save(site / "tie.png")
    first, second = ours.ranked[:2]
    page = html.unescape(finished_page(site, "index.html?picture=tie.png"))
    assert f"Near tie: {first.name} and {second.name} score alike" in page


def checked(site: Path) -> str:
    """Run the kit in Chromium and return the output of `kit check`, which must conform."""
    page = finished_page(site, "check.html")
    found = re.search('<pre id="results".*?>(.*?)</pre>', page, re.DOTALL)
    assert found is not None
    assert 'data-state="done"' in page, page
    (site / "results.json").write_text(html.unescape(found[1]))
    done = CliRunner().invoke(kit, ["check", str(site / "kit"), str(site / "results.json")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def with_geometry(geometry: str) -> bytes:
    """Return the embedded model with another geometry in its spot.json."""
    model = read_model()
    with zipfile.ZipFile(io.BytesIO(model.content)) as bundle:
        flatbuffer = model.content[: min(info.header_offset for info in bundle.infolist())]
    spec = model.spec._replace(image=ImageSpec(**model.spec.image._asdict() | {"geometry": geometry}))
    extra = {name: content for name, content in model.members.items() if name not in ("labels.txt", "spot.json")}
    return seal(flatbuffer, spec, extra)


def test_module_conforms_to_a_kit_with_a_large_jpeg(tmp_path: Path) -> None:
    output = checked(site_of(tmp_path, with_geometry("stretch-reduced-jpeg")))
    print(f"\n{output}")
    assert "stills   1 images: conform" in output


def test_module_refuses_an_unknown_geometry(site: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(site, tmp_path / "site", symlinks=True)
    (folder / "spot.tflite").write_bytes(with_geometry("crop"))
    page = html.unescape(finished_page(folder, "index.html?picture=drawn.jpg"))
    assert 'data-state="failed"' in page
    assert "cannot prepare images with the geometry crop, only with stretch or stretch-reduced-jpeg" in page


def test_module_conforms_to_the_kit(site: Path) -> None:
    assert "stills" not in checked(site)
    known = json.loads((site / "kit" / "vectors.json").read_text())["images"]
    inputs = {
        entry["image"]: entry["input_sha256"] for entry in json.loads((site / "results.json").read_text())["results"]
    }
    equal = [
        inputs[each[part]] == each["outputs"]["spot-edge"]["input_sha256"]
        for each in known
        for part in ("image", "input")
    ]
    assert all(equal)  # Pillow and the canvas decode and resize to the same bytes


@pytest.mark.parametrize("images", ["drawn", "HAM10000"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name if file else "embedded")
def test_same_tensor_gives_the_scores_of_the_device(file: Path | None, images: str) -> None:
    model, gaps, agree, milliseconds = read_model(file), [], 0, []
    device = Interpreter(model, threads=1)
    with in_browser(model, FOLDER) as browser:
        for tensor in tensors(model, images):
            start = time.perf_counter()
            theirs = browser.invoke(tensor)["scores"]
            milliseconds.append(1e3 * (time.perf_counter() - start))
            ours = device.invoke(tensor)["scores"]
            gaps.append(float(np.abs(theirs - ours).max()))
            agree += int(theirs.argmax() == ours.argmax())
    print(
        f"\n{Path(model.name).name} in LiteRT.js {litertjs_version(FOLDER)}, n={len(gaps)} {images}: "
        f"largest |score - device's| {max(gaps):.1e}, mean over images {np.mean(gaps):.1e}, same top class {agree}; "
        f"{np.median(milliseconds):.0f} ms an image, including the transfer to the page and back"
    )
    assert max(gaps) <= TOLERANCE


def tensors(model: ModelFile, images: str = "drawn") -> Iterator[np.ndarray]:
    if images == "drawn":
        yield from (to_tensor(image, model.spec.image)[0] for image in drawn_lesions(IMAGES))
    else:
        yield from (prepare(Source.of(content), model.spec.image).tensor for content in first_images(IMAGES))


def test_variant_is_calibrated_and_compared_in_the_browser(shapes_run: Path, tmp_path: Path) -> None:
    made = convert_run(
        shapes_run, tmp_path / "out", variants=["int8", "browser"], environments=Environments(browser=FOLDER), log=print
    )
    int8, browser = (converted.model.spec for converted in made)
    assert (browser.variant, browser.measured_in) == ("browser", (LITERT_JS, litertjs_version(FOLDER)))
    assert browser.temperature == pytest.approx(int8.temperature, abs=1e-3)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["files"][1]["measured_in"] == {"runtime": LITERT_JS, "version": litertjs_version(FOLDER)}


def test_bench_predict_runs_the_browser(shapes_run: Path, tmp_path: Path) -> None:
    convert_run(
        shapes_run, tmp_path / "out", variants=["browser"], environments=Environments(browser=FOLDER), log=print
    )
    draw_shapes(tmp_path / "data", 4, 99)
    model = tmp_path / "out" / "shapes-browser.tflite"
    predict_in_runtime(model, tmp_path / "data", tmp_path, "--browser", FOLDER)
    saved, device = load_predictions(tmp_path / "predictions.npz"), Interpreter(read_model(model), threads=1)
    assert (saved.model["runtime"], len(saved.images)) == (LITERT_JS, 12)
    for name, scores in zip(saved.images, saved.scores, strict=True):
        tensor = tensor_of(model, tmp_path / "data" / str(name))
        np.testing.assert_allclose(scores, device.invoke(tensor)["scores"], atol=TOLERANCE)


def test_error_says_why_a_file_cannot_run() -> None:
    model = read_model()
    broken = ModelFile(model.name, model.id, model.content[:1000], model.spec, model.signature, model.members)
    with (
        in_browser(broken, FOLDER) as browser,
        pytest.raises(CheckError, match=r"LiteRT\.js \S+ cannot run it: \S+"),
    ):
        browser.invoke(next(tensors(model)))
