"""`bench compare`: two latency reports."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from spot_bench.commands.speed import compare
from spot_bench.speed.compare import compare_reports, ratio_of_runs, slower, verdict
from spot_bench.speed.lines import comparison_lines
from spot_edge.errors import CheckError, DataError

RNG = np.random.default_rng(4)


def entry(file: str = "spot-int8.tflite", **changes: Any) -> dict[str, Any]:
    name, _, variant = file.removesuffix(".tflite").partition("-")
    return {
        "model": {"file": file, "name": name, "variant": variant, "id": f"{file}-of-one-day"},
        "threads": 1,
        "delegate": True,
        "runtime": {"name": "ai-edge-litert", "version": "2.3.0"},
        "warmup": {"runs": 20, "settled": True},
        "blocks_ms": {
            row: list(RNG.normal(ms, ms / 100, 64)) for row, ms in (("decode", 2.0), ("invoke", 6.0), ("total", 10.0))
        },
    } | changes


def report(*entries: dict[str, Any]) -> dict[str, Any]:
    return {
        "report": "latency",
        "schema": 2,
        "when": "2026-11-21T10:00:00+00:00",
        "machine": {
            "cpu": "Raspberry Pi 5",
            "cores": 4,
            "system": "Linux 6",
            "architecture": "aarch64",
            "governor": None,
        },
        "conditions": {"throttled": False, "why": [], "other_work": 0.0},
        "image": {"sha256": "ab"},
        "models": list(entries or [entry()]),
    }


def scaled(before: dict[str, Any], factor: float, row: str = "invoke") -> dict[str, Any]:
    after = copy.deepcopy(before)
    for record in after["models"]:
        record["blocks_ms"][row] = [factor * ms for ms in record["blocks_ms"][row]]
    return after


@pytest.mark.parametrize(
    ("factor", "said"), [(1.0, "no change"), (1.01, "no change"), (1.2, "slower"), (0.8, "faster"), (1.03, "unclear")]
)
def test_a_change_is_separated_from_noise(factor: float, said: str) -> None:
    before = report()
    found = compare_reports(before, scaled(before, factor))
    (pair,) = found["pairs"]
    assert pair["rows"]["invoke"]["verdict"] == said
    assert pair["rows"]["invoke"]["ratio"]["value"] == pytest.approx(factor)
    assert pair["rows"]["decode"]["verdict"] == "no change"
    assert slower(found) == (["spot-int8.tflite"] if said == "slower" else [])


def test_intervals_cover_the_truth() -> None:
    generator, hits = np.random.default_rng(0), 0
    for seed in range(300):
        a, b = generator.gamma(50, 0.1, 64), 1.1 * generator.gamma(50, 0.1, 64)
        found = ratio_of_runs(a, b, seed=seed)
        hits += found.low <= 1.1 <= found.high
    assert 0.92 <= hits / 300 <= 0.99


def test_other_work_widens_intervals() -> None:
    a, b = RNG.normal(10, 0.1, 64), RNG.normal(15, 0.1, 64)
    calm = ratio_of_runs(a, b)
    busy = ratio_of_runs(a, b, (0.2, 0.5))
    assert busy.value == calm.value
    assert (busy.low, busy.high) == (pytest.approx(calm.low / 2), pytest.approx(calm.high / 0.8))
    assert (verdict(calm.as_dict()), verdict(busy.as_dict())) == ("slower", "unclear")


def test_few_samples_are_unclear() -> None:
    few = ratio_of_runs([1.0] * 5, [2.0] * 5).as_dict()
    assert (few["value"], few["low"], verdict(few)) == (2.0, None, "unclear")


def test_entries_are_paired_by_file_then_by_name() -> None:
    a = report(entry(), entry(threads=4), entry("spot-float32.tflite"), entry("other-int8.tflite"))
    later = entry(model=entry()["model"] | {"id": "of-another-day"})
    b = report(entry("spot-float32.tflite"), later, entry(threads=4), entry(delegate=False))
    found = compare_reports(a, b)
    assert [(pair["a"]["variant"], pair["a"]["threads"]) for pair in found["pairs"]] == [
        ("int8", 4),
        ("float32", 1),
        ("int8", 1),
    ]
    assert found["pairs"][2]["notes"][0].startswith("another file of the same name")
    assert [record["file"] for record in found["only_a"]] == ["other-int8.tflite"]
    assert [record["delegate"] for record in found["only_b"]] == [False]
    with pytest.raises(DataError, match="no model with the same threads and delegate in common"):
        compare_reports(report(entry(), entry(threads=2)), report(entry("other-int8.tflite")))


def test_other_machines_models_and_disturbances_are_noted() -> None:
    a, b = report(), report(entry("other-float32.tflite", threads=4, warmup={"runs": 200, "settled": False}))
    b["machine"] |= {"cpu": "Raspberry Pi 4", "governor": "ondemand"}
    b["image"] = {"sha256": "cd"}
    b["conditions"] = {"throttled": True, "why": ["under-voltage"], "other_work": 0.3}
    lines = list(comparison_lines(compare_reports(a, b)))
    text = " ".join(" ".join(lines).split())
    for said in (
        "DIFFERENT MACHINES: cpu: Raspberry Pi 5 and Raspberry Pi 4",
        "! governor: None and ondemand",
        "! different images",
        "! B was throttled, not steady: under-voltage",
        "! in B, other programs took 30 % of the processors: not steady",
        "! DIFFERENT MODELS: spot int8",
        "! different settings: 1 threads, delegate on and 4 threads, delegate on",
        "! B did not become steady during warm-up",
    ):
        assert said in text
    assert max(map(len, lines)) <= 80


def test_fail_on_sets_the_exit_code(tmp_path: Path) -> None:
    before = report(entry(), entry("gone-int8.tflite"))
    after = scaled(report(before["models"][0]), 1.5)
    files = []
    for name, content in (("a", before), ("b", after)):
        files.append(str(tmp_path / name))
        Path(files[-1]).write_text(json.dumps(content))
    done = CliRunner().invoke(compare, files)
    assert done.exit_code == 0, done.output
    assert "slower by 50.0 % (" in done.output
    assert "no change (" in done.output
    assert "only in A: gone-int8.tflite" in done.output
    with pytest.raises(CheckError, match=r"slower than in .*a: spot-int8\.tflite"):
        compare.main([*files, "--fail-on", "slower"], standalone_mode=False)
    assert CliRunner().invoke(compare, [files[1], files[0], "--fail-on", "slower"]).exit_code == 0
    found = json.loads(CliRunner().invoke(compare, [*files, "--json"]).output)
    assert found["pairs"][0]["rows"]["invoke"]["verdict"] == "slower"
