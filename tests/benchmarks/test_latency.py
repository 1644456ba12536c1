"""`bench latency` with the embedded model. Times are not asserted, because a busy machine must not fail a build."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from spot_bench.commands.speed import latency as command
from spot_bench.data.drawn import draw_lesion, encode_jpeg
from spot_bench.speed import latency, rounds
from spot_bench.speed.history import append_report, check_history, read_report
from spot_bench.speed.latency import BLOCKS, Plan, measure
from spot_bench.speed.lines import latency_lines
from spot_bench.speed.utilisation import ROWS, WIDTH, Peak, Work, count_work, dense_layer, measure_peak, utilisation
from spot_edge.classifier import Classifier
from spot_edge.errors import DataError, InterpreterError, OutputError
from spot_edge.machine import Sensors
from spot_edge.model.file import read_model, seal

IMAGE = encode_jpeg(draw_lesion(1, 320, 240))
WARMUP = 20


@pytest.fixture(scope="module", autouse=True)
def short() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "_MOST_WARMUP", WARMUP)
        patch.setattr(latency, "_ENERGY_SECONDS", 0.05)
        yield


@pytest.fixture(scope="module")
def float32(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded model, labelled as variant float32."""
    model = read_model()
    with zipfile.ZipFile(io.BytesIO(model.content)) as bundle:
        start = min(member.header_offset for member in bundle.infolist())
    path = tmp_path_factory.mktemp("float32") / "spot-float32.tflite"
    path.write_bytes(seal(model.content[:start], model.spec._replace(variant="float32", image_quality=None)))
    return str(path)


@pytest.fixture(scope="module")
def report(float32: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("root")
    zone = root / "sys" / "class" / "powercap" / "intel-rapl:0"
    zone.mkdir(parents=True)
    for name, content in {"name": "package-0", "energy_uj": "5", "max_energy_range_uj": "9"}.items():
        (zone / name).write_text(content)
    seen: list[int] = []
    plan = Plan(samples=8, seconds=0, threads=(1,), delegates=(True, False), cold=1, sensors=Sensors(root))
    found = measure([float32, None], IMAGE, plan, seen.append)
    assert seen == list(range(1, 9))
    return found


def test_every_configuration_is_measured(report: dict[str, Any]) -> None:
    assert (report["report"], report["schema"], report["samples"]) == ("latency", 2, 8)
    found = [(record["model"]["variant"], record["threads"], record["delegate"]) for record in report["models"]]
    assert found == [("float32", 1, True), ("float32", 1, False), ("int8", 1, True), ("int8", 1, False)]
    for record in report["models"]:
        rows = record["rows_ms"]
        assert tuple(rows) == ("decode", "resize", "invoke", "postprocess", "total")
        assert all(
            0 < row["min"] <= row["p50"]["low"] <= row["p50"]["value"] <= row["p50"]["high"] for row in rows.values()
        )
        assert (
            sum(rows[row]["min"] for row in ("decode", "resize", "invoke", "postprocess"))
            <= rows["total"]["min"] + 1e-6
        )
        assert rows["total"]["p99"] == {"value": None, "low": None, "high": None, "n": 8}
        assert record["warmup"]["runs"] == WARMUP
        assert min(record["load_ms"], record["first_ms"]) > 0
        assert all(len(blocks) == 8 for blocks in record["blocks_ms"].values())
        assert record["energy"]["joules"] == 0
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_processes_are_measured(report: dict[str, Any]) -> None:
    assert [Path(found["file"]).name for found in report["processes"]] == ["spot-float32.tflite", "spot-int8.tflite"]
    for found in report["processes"]:
        assert found["cold_ms"]["runs"] == 1
        assert 0 < found["cold_ms"]["min"] <= found["cold_ms"]["median"]
        sizes = [found[key] for key in ("loaded_kb", "steady_kb", "peak_kb")]
        assert sizes == [None] * 3 or 0 < sizes[0] <= sizes[2] >= sizes[1]


def test_a_quantized_file_is_compared_with_its_float32_baseline(report: dict[str, Any], float32: str) -> None:
    floats, quantized = report["models"][:2], report["models"][2:]
    assert all(record["against_float32"] is None for record in floats)
    for base, record in zip(floats, quantized, strict=True):
        against = record["against_float32"]
        assert against["file"] == float32
        medians = [np.median(one["blocks_ms"]["invoke"]) for one in (record, base)]
        assert against["ratio"]["value"] == pytest.approx(medians[0] / medians[1], rel=0.01)
        assert against["ratio"]["low"] <= against["ratio"]["value"] <= against["ratio"]["high"]


def test_the_table_fits_a_terminal_and_has_the_important_figures(report: dict[str, Any]) -> None:
    altered = json.loads(json.dumps(report))
    slow, fast = altered["models"][2:]
    slow["against_float32"]["ratio"] |= {"value": 3.2, "low": 3.1, "high": 3.3}
    fast["against_float32"]["ratio"] |= {"value": 0.5, "low": 0.4, "high": 0.625}
    for record in altered["models"]:
        record["rows_ms"]["invoke"]["p99"] |= {"value": 12345.6, "low": 12345.6, "high": 12345.6}
    altered["conditions"] |= {"throttled": True, "why": ["under-voltage"], "other_work": 0.25}
    lines = list(latency_lines(altered))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "slower than float32: 3.2 times (3.10 to 3.30)" in text
    assert "faster than float32: 2.0 times (1.60 to 2.50)" in text
    assert "throttled: not steady (under-voltage)" in text
    assert "other programs took 25 % of the processors: not steady" in text
    assert "p99 needs at least 299 samples" in text
    assert "no readable energy meter" not in text
    assert "share of the measured peak" in text
    altered["conditions"] |= {"throttled": None, "other_work": None}
    assert "does not report throttling" in "\n".join(latency_lines(altered | {"meter": None}))


def test_a_disturbed_run_is_not_steady() -> None:
    classifier = Classifier.load(threads=1)
    runner = rounds.Runner(rounds.Configuration(None, 1, True), classifier, 1, 1, settled=True)
    rounds.run_round([runner], IMAGE, 0)
    assert latency._record(runner, False)["steady"]
    assert not latency._record(runner, True)["steady"]


@pytest.mark.parametrize("count", [1, 5, 64, 65, 1000])
def test_blocks_are_consecutive(count: int) -> None:
    blocks = latency._block_medians([float(n) for n in range(count)])
    assert len(blocks) == min(BLOCKS, count)
    assert blocks == sorted(blocks)
    assert abs(np.median(blocks) - (count - 1) / 2) <= 1 + count / BLOCKS


def test_it_runs_for_the_given_seconds() -> None:
    report = measure([None], IMAGE, Plan(samples=1, seconds=2, cold=0))
    assert report["samples"] > 1
    assert report["processes"] == []
    with pytest.raises(DataError, match="at least one model"):
        measure([], IMAGE)


def test_a_runtime_that_cannot_turn_its_delegate_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "resolver_without_delegate", lambda runtime: None)
    plan, notes = latency._possible(Plan(delegates=(True, False)))
    assert plan.delegates == (True,)
    assert notes[0].endswith("cannot turn its delegate off: measured only with the delegate")
    with pytest.raises(InterpreterError, match=r"cannot turn its delegate off\. Measure with --delegate on"):
        latency._possible(Plan(delegates=(False,)))


def test_multiply_accumulates_are_counted() -> None:
    work = count_work(read_model().content)
    assert work.dtype == "int8"
    assert 100e6 < work.total < 1000e6
    dense = count_work(dense_layer("float32"))
    assert dense == Work({"float32": ROWS * WIDTH * WIDTH})
    assert Work({"int8": 50, "float32": 50}).dtype == "mixed"


def test_the_peak_of_a_dense_layer() -> None:
    for dtype in ("float32", "int8"):
        peak = measure_peak(dtype, 1, "ai-edge-litert")
        assert peak is not None
        assert peak.gmacs > 0
        assert dtype in peak.how
        assert "1 thread, fastest" in peak.how
    assert measure_peak("float32 by int8", 1, "ai-edge-litert") is None
    used = utilisation(Work({"int8": 300_000_000}), 10.0, Peak(60.0, "somehow"))
    assert (used["gmacs_per_s"], used["share"]) == (pytest.approx(30), pytest.approx(0.5))
    assert (
        utilisation(Work({"float32 by int8": 1}), 1.0, None)["reason"]
        == "no peak measured for float32 by int8 products"
    )


def test_a_history_has_one_report_per_line(report: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    check_history(path)
    for samples in (1, 2, 3):
        append_report(report | {"samples": samples}, path)
    assert len(path.read_text().splitlines()) == 3
    assert path.stat().st_size < 3 * 16_000
    check_history(path)
    for name, samples in (("", 3), ("#1", 1), ("#-2", 2), ("#3", 3)):
        assert read_report(f"{path}{name}")["samples"] == samples
    single = tmp_path / "report.json"
    single.write_text(json.dumps(report, indent=1))
    assert read_report(str(single)) == report


VALID = json.dumps(
    dict.fromkeys(["when", "machine", "conditions", "image", "models"]) | {"schema": 2, "report": "latency"}
)


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        ("hello\n", "", "line 1 is not a latency report"),
        ('{"schema": 2, "report": "latency"}\n', "", "line 1 is not a latency report"),
        (f'{VALID}\n{{"schema": 2, "report": "drift"}}\n', "", "line 2 is not a latency report"),
        ("", "", "no latency report in it"),
        ('{"schema": 1, "needed": {}}', "", r"has schema 1, not 2\. Measure again"),
        (VALID, "#2", "has reports #1 to #1, but no #2"),
        (VALID, "#0", "has reports #1 to #1, but no #0"),
        (VALID, "#x", "'#' must be followed by the number"),
    ],
)
def test_other_files_are_refused(content: str, name: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "h"
    path.write_text(content)
    with pytest.raises(DataError, match=reason):
        read_report(f"{path}{name}")


def test_bad_input_is_reported_before_measuring(tmp_path: Path) -> None:
    def run(*arguments: object) -> None:
        command.main([str(argument) for argument in arguments], standalone_mode=False)

    for option, value in (("--threads", "1,x"), ("--threads", "0"), ("--threads", "2,2"), ("--delegate", "maybe")):
        done = CliRunner().invoke(command, [option, value])
        assert done.exit_code == 2
        assert repr(value) in done.output
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(OutputError, match=r"report\.json: already exists"):
        run("--out", tmp_path)
    with pytest.raises(DataError, match="not a latency report"):
        run("--history", tmp_path / "report.json")
    with pytest.raises(OutputError, match="no such folder"):
        run("--history", tmp_path / "missing" / "history")
    with pytest.raises(DataError, match="cannot be read"):
        run("--history", tmp_path)
    assert (tmp_path / "report.json").read_text() == "{}"


def test_from_the_command_line(tmp_path: Path) -> None:
    arguments = ["--samples", "6", "--seconds", "0", "--cold", "0", "--threads", "1", "--json"]
    places = ["--out", str(tmp_path / "out"), "--history", str(tmp_path / "history")]
    done = CliRunner().invoke(command, arguments + places)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["models"][0]["threads"] == 1
    assert report == read_report(str(tmp_path / "history")) == read_report(str(tmp_path / "out" / "report.json"))
