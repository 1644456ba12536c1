"""The HTML page of a drift report and the command that writes it, on made-up predictions. No model runs."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from spot_bench.commands.bench import bench
from spot_bench.data.drawn import draw_lesion, encode_jpeg
from spot_bench.data.manifest import Manifest, read_manifest
from spot_bench.data.predictions import Predictions, save_predictions
from spot_bench.drift.lines import drift_lines
from spot_bench.drift.page import page, write_page
from spot_bench.drift.page.figures import gate_svg
from spot_bench.drift.report import drift_report, refuse_verdict
from spot_bench.report.tables import points
from spot_bench.stats.calibration import operating_points, softmax
from spot_bench.stats.conformal import conformal_thresholds
from spot_edge.errors import CheckError, DataError, OutputError

IMAGES = 120
LABELS = ("bkl", "mel", "nv")
MALIGNANT = (False, True, False)


def outputs(logits: np.ndarray) -> dict[str, Any]:
    return {"logits": logits.astype(np.float32), "scores": softmax(logits).astype(np.float32)}


@pytest.fixture(scope="module")
def float32() -> Predictions:
    random = np.random.default_rng(8)
    truth = np.arange(IMAGES) % 3
    logits = random.normal(0, 1, (IMAGES, 3))
    logits[np.arange(IMAGES), truth] += 2
    groups, found = np.array([f"lesion-{row}" for row in range(IMAGES)]), outputs(logits)
    return Predictions(
        labels=LABELS,
        truth=truth,
        groups=groups,
        images=np.array([f"{row}.jpg" for row in range(IMAGES)]),
        model={"name": "toy", "variant": "float32", "id": "ab" * 32, "runtime": "made up", "version": "1"},
        malignant=MALIGNANT,
        operating_points=operating_points(MALIGNANT, found["scores"], truth, groups, measured_on="made up"),
        conformal=conformal_thresholds(LABELS, found["scores"], truth, groups, measured_on="made up"),
        **found,
    )


@pytest.fixture(scope="module")
def damaged(float32: Predictions) -> Predictions:
    """A model that hardly ever predicts melanoma."""
    logits = float32.logits.copy()
    logits[:, 1] -= 3
    return replace(float32, model=float32.model | {"variant": "int8 <b>odd</b>/x"}, **outputs(logits))


@pytest.fixture(scope="module")
def data(float32: Predictions, damaged: Predictions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of all images. Three of them exist: melanomas that the damaged model misses."""
    folder = tmp_path_factory.mktemp("data")
    first, after = float32.scores.argmax(axis=1), damaged.scores.argmax(axis=1)
    for row in np.flatnonzero((first == 1) & (after != 1))[:3]:
        (folder / f"{row}.jpg").write_bytes(encode_jpeg(draw_lesion(int(row), 300, 225)))
    lines = ["image,label,group,split,sex"]
    for row, truth in enumerate(float32.truth):
        lines.append(f"{row}.jpg,{LABELS[truth]},lesion-{row},test,{'female' if row < 20 else 'male'}")
    (folder / "data.csv").write_text("\n".join(lines))
    return folder / "data.csv"


@pytest.fixture(scope="module")
def manifest(data: Path) -> Manifest:
    return read_manifest(data, check_files=False)


@pytest.fixture(scope="module")
def report(float32: Predictions, damaged: Predictions, manifest: Manifest) -> dict[str, Any]:
    others, about = [damaged, float32], {"name": "data.csv", "split": "test"}
    return drift_report(float32, others, manifest, sizes=[8_000_000, None, 8_000_000], draws=100, **about)


class Tags(HTMLParser):
    """Check that elements are closed in order; collect their names and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_self_contained(report: dict[str, Any], manifest: Manifest, tmp_path: Path) -> None:
    write_page(report, manifest, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    names = {tag for tag, _ in tags.seen}
    assert not names & {"script", "link", "iframe"}
    sources = [attributes["src"] for tag, attributes in tags.seen if tag == "img"]
    assert len(sources) == 3
    assert all(source and source.startswith("data:image/jpeg;base64,") for source in sources)
    namespaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\"' )]*", text)) == namespaces  # names, which no browser loads
    assert not re.search(r"url\((?!#)|@import", text)
    assert "int8 &lt;b&gt;odd&lt;/b&gt;/x" in text
    assert "<b>odd" not in text


def test_thumbnails_are_small_and_have_no_metadata(report: dict[str, Any], manifest: Manifest, tmp_path: Path) -> None:
    write_page(report, manifest, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    encoded = re.search(r"data:image/jpeg;base64,([^\"]*)", text)
    assert encoded is not None
    picture = Image.open(io.BytesIO(base64.b64decode(encoded[1])))
    assert picture.size == (120, 90)
    assert not picture.getexif()


def test_the_page_shows_verdicts_flips_and_subgroups(report: dict[str, Any]) -> None:
    text = page(report, {})
    assert "Worse than toy float32 beyond the margin for: balanced accuracy, recall mel" in text
    assert 'class="verdict fail"' in text
    assert 'class="verdict pass"' in text
    assert re.search(r"\d+ images of malignant lesions had a malignant top class and now a benign one", text)
    assert f"No image of {IMAGES} flips." in text
    assert "sex: male (balanced accuracy -" in text
    assert re.search("too few lesions</span> .lesions.: female .20.", text)
    assert text.index("malignancy lost") < text.index("now right")
    assert "<td>8.00</td>" in text


def test_the_page_shows_margins_as_bands_and_intervals_as_bars(report: dict[str, Any]) -> None:
    """A bar per criterion in the colour of its verdict; an arrow where it leaves the chart."""
    worse, same = (gate_svg(comparison) for comparison in report["comparisons"])
    bars = re.compile(r"stroke: (#[0-9a-f]{6}); stroke-width: 7")
    assert {"#a32020"} <= set(bars.findall(worse)) <= {"#2f7d4f", "#b07a10", "#a32020"}
    assert bars.findall(same).count("#a32020") == 0
    assert len(bars.findall(worse)) == len(report["comparisons"][0]["verdict"]["criteria"])
    assert worse.count("#e6f0e8") == same.count("#e6f0e8") == 1
    assert page(report, {}).count("#e6f0e8") == 2


def test_no_points_are_negative_zero() -> None:
    assert [points(share) for share in (-0.0001, 0.0, 0.0149, -0.02)] == ["+0.0", "+0.0", "+1.5", "-2.0"]


def test_times_and_sizes_of_a_latency_report_are_shown(
    float32: Predictions, damaged: Predictions, manifest: Manifest
) -> None:
    def entry(model_id: str, milliseconds: float, threads: int) -> dict[str, Any]:
        median = {"value": milliseconds, "low": milliseconds - 1, "high": milliseconds + 1}
        ran = {"bytes": 3_000_000, "threads": threads, "delegate": True, "steady": threads == 1}
        return {"model": {"id": model_id}, **ran, "rows_ms": {"total": {"p50": median}}}

    other = replace(damaged, model=damaged.model | {"id": "cd" * 32})
    latency = {"when": "2026-01-01", "machine": {}, "conditions": {}, "models": []}
    about = {"name": "d", "split": "test", "sizes": [8_000_000, None], "draws": 20}
    with pytest.raises(DataError, match="has none of these model files"):
        drift_report(float32, [other], manifest, latency=latency, **about)
    plain = page(drift_report(float32, [other], manifest, **about), {})
    assert "ms per image" not in plain
    assert "Cost and accuracy" not in plain  # one size alone is no frontier
    latency["models"] = [entry("ab" * 32, 20, 1), entry("cd" * 32, 12, 1), entry("cd" * 32, 8, 2)]
    report = drift_report(float32, [other], manifest, latency=latency, **about)
    assert report["bytes"] == [8_000_000, 3_000_000]
    assert [time["threads"] for time in report["latency"]["models"]] == [1, 2]  # the fastest way of each
    text = page(report, {})
    assert "8.0<small>7.0 to 9.0</small><small>2 threads</small><small>not steady</small>" in text
    assert "milliseconds per image" in text


def test_a_page_without_malignancy_or_sets(float32: Predictions, manifest: Manifest) -> None:
    plain = replace(float32, malignant=(), operating_points=(), conformal=None, model={})
    report = drift_report(plain, [plain], manifest, name="d", split="all", sizes=[None, None], draws=20)
    text = page(report, {})
    assert "ROC of the malignant score" not in text
    assert "Prediction sets" not in text
    assert "Errors at the operating points" not in text


def test_verdicts_become_errors(report: dict[str, Any]) -> None:
    refuse_verdict(report, None)
    with pytest.raises(CheckError, match=r"toy int8 .* against toy float32: fail \(balanced .*recall mel: .* points"):
        refuse_verdict(report, "fail")
    undecided = {"comparisons": [json.loads(json.dumps(report["comparisons"][1]))]}
    undecided["comparisons"][0]["verdict"]["verdict"] = "undecided"
    refuse_verdict(undecided, "fail")
    with pytest.raises(CheckError, match="undecided"):
        refuse_verdict(undecided, "undecided")


def run(*arguments: str | Path) -> None:
    bench.main([str(argument) for argument in arguments], standalone_mode=False)


def test_saved_predictions_are_compared_without_a_model(
    float32: Predictions,
    damaged: Predictions,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("spot_bench.drift.report.drift_report", partial(drift_report, draws=50))
    save_predictions(float32, tmp_path / "a.npz")
    save_predictions(damaged, tmp_path / "b.npz")
    arguments = ["drift", tmp_path / "b.npz", "--baseline", tmp_path / "a.npz", "--data", data]
    with pytest.raises(CheckError, match="fail"):
        run(*arguments, "--out", tmp_path / "out", "--fail-on", "undecided")
    files = {"predictions-0-float32.npz", "predictions-1-int8-b-odd-b-x.npz", "report.html", "report.json"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == files  # written before it exits
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["bytes"] == [None, None]
    assert report["comparisons"][0]["verdict"]["verdict"] == "fail"
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 120
    with pytest.raises(OutputError, match=r"already exists\. Name another folder"):
        run(*arguments, "--out", tmp_path / "out")
    other = tmp_path / "other.csv"
    other.write_text("image,label,split\nother.jpg,nv,test\n")
    with pytest.raises(DataError, match=r"other\.csv: does not list 0\.jpg"):
        run(*arguments[:-1], other)
    (tmp_path / "b.npz").write_bytes(b"no")
    with pytest.raises(DataError, match=r"b\.npz: not a predictions file"):
        run(*arguments)
    save_predictions(replace(damaged, labels=("bkl", "mel", "scc")), tmp_path / "b.npz")
    with pytest.raises(DataError, match=r"b\.npz has the labels bkl, mel, scc, but .*a\.npz has bkl, mel, nv"):
        run(*arguments, "--out", tmp_path / "early")
    assert not any((tmp_path / "early").iterdir())  # reported before anything runs


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_without_the_report_extra_the_json_is_written(
    missing: str, float32: Predictions, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spot_bench.drift.report.drift_report", partial(drift_report, draws=20))
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)  # importing it raises ImportError
    save_predictions(float32, tmp_path / "a.npz")
    arguments = ["drift", tmp_path / "a.npz", "--baseline", tmp_path / "a.npz", "--data", data, "--out", tmp_path / "o"]
    done = CliRunner().invoke(bench, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "o" / "report.json").is_file()
    assert not (tmp_path / "o" / "report.html").exists()
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"No report.html: {missing} is not installed. Install it from a clone")
    assert line.endswith("'.[report]'")


def test_without_malignant_classes_the_words_are_neutral(
    float32: Predictions, damaged: Predictions, data: Path
) -> None:
    unmarked = {"malignant": (None, None, None), "operating_points": (), "conformal": None}
    neutral = [replace(each, **unmarked) for each in (float32, damaged)]
    about = {"name": "data.csv", "split": "test", "sizes": [None, None], "draws": 100}
    report = drift_report(neutral[0], neutral[1:], read_manifest(data, check_files=False), **about)
    said = "\n".join(drift_lines(report)) + re.sub(r"<style.*?</style>", "", page(report, {}), flags=re.DOTALL)
    assert "120 groups" in said
    for word in ("lesion", "malignan"):
        lines = [line for line in said.splitlines() if word in line.replace("lesion-", "")]
        assert not lines, lines
