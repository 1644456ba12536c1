"""The command line of `bench`, without a model file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from spot_bench.commands.bench import bench
from spot_bench.report.tables import align, change, figure, milliseconds, short
from spot_bench.speed.conditions import describe_machine
from spot_edge.errors import DataError, ModelError, OutputError


def test_import_is_cheap() -> None:
    """`spot-edge --help` imports the group."""
    heavy = {"numpy", "PIL", "ai_edge_litert", "tflite_runtime", "tensorflow"}
    code = f"import sys, spot_bench.commands.bench; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_fits_a_screen_and_lists_every_command() -> None:
    done = CliRunner().invoke(bench, ["--help"])
    assert done.exit_code == 0
    assert len(done.output.splitlines()) <= 24
    for name, command in bench.commands.items():
        assert re.search(rf"^  {name} +{re.escape(command.short_help or '?')}$", done.output, re.MULTILINE)
        assert CliRunner().invoke(bench, [name, "--help"]).exit_code == 0


def run(*arguments: str | Path) -> None:
    bench.main([str(argument) for argument in arguments], standalone_mode=False)


def test_a_report_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(OutputError, match=r"report\.json: already exists\. Name another folder"):
        run("drift", "m.tflite", "--data", "d.csv", "--baseline", "f.tflite", "--out", tmp_path)
    assert (tmp_path / "report.json").read_text() == "{}"


def test_bad_input_raises_our_own_errors(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(DataError, match="no such file or folder"):
        run("drift", "m.tflite", "--data", missing, "--baseline", missing)
    data = tmp_path / "data.csv"
    data.write_text("image,label,split\ndata.csv,nv,train\n")
    with pytest.raises(DataError, match="no split 'test'"):
        run("drift", "m.tflite", "--data", data, "--baseline", missing)
    with pytest.raises(ModelError, match="cannot be read"):
        run("drift", "m.tflite", "--data", data, "--baseline", missing, "--split", "train")
    with pytest.raises(ModelError, match="cannot be read"):
        run("latency", missing)
    with pytest.raises(ModelError, match="cannot be read"):
        run("overhead", "--model", missing)


def test_tables_align() -> None:
    assert align([["", "a"], ["long", "bc"]]) == ["       a", "long  bc"]
    estimate = {"value": 0.5, "low": 0.25, "high": None}
    assert figure(estimate) == "0.500 (0.250 to -)"
    assert change(estimate) == "+0.500 (+0.250 to -)"
    assert figure({"value": None}) == change({"value": None}) == milliseconds({"value": None}) == "-"
    assert milliseconds({"value": 9.614, "low": 9.58, "high": 10.02}) == "9.61 (9.58-10.0)"
    assert [short(value) for value in (0.0523, 9.614, 12.34, 148.2, 1480.0)] == ["0.052", "9.61", "12.3", "148", "1480"]


def test_the_machine_is_named() -> None:
    machine = describe_machine()
    assert machine["cpu"]
    assert isinstance(machine["cores"], int)
    assert machine["cores"] >= 1
