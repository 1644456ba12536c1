"""The driver of `python -m experiments.peers`: real adapters where this environment has them, and failing ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import experiments.peers.__main__
from experiments.peers.children import AdapterError, Child
from experiments.peers.compare import CALLS, Found, against, compare
from experiments.peers.networks import make_inputs
from experiments.peers.page import page, problems, target_lines
from experiments.peers.rows import FLOAT, INT8, ROWS, Row
from spot_bench.speed.conditions import describe_machine
from spot_edge import read_model
from spot_edge.errors import CheckError, InterpreterError

ROUNDS = 2
# The embedded int8 file stands for both networks: making the float one would take TensorFlow a while.
FLOOR = Row("floor", "litert", "here", FLOAT, "int8.tflite")
HELLO = {"version": "odd 1.0", "scores": None, "first": None, "measures": ["bare"]}


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, model = tmp_path_factory.mktemp("networks"), read_model()
    (folder / "int8.tflite").write_bytes(model.content)
    make_inputs(folder, model, pictures=4)
    return folder


@pytest.fixture
def odd(tmp_path: Path) -> Callable[[str], Path]:
    """An adapter's Python that does whatever it is told to instead of running the adapter."""

    def make(program: str) -> Path:
        path = tmp_path / f"python-{abs(hash(program))}"
        path.write_text(f"#!{sys.executable}\nimport json, sys, time\nhello = {HELLO!r}\n{program}\n")
        path.chmod(0o755)
        return path

    return make


def run(networks: Path, *rows: Row, odd: Path = Path("none"), rounds: int = ROUNDS) -> list[Found]:
    pythons = {"here": Path(sys.executable), "odd": odd}
    return compare(
        rows, networks, read_model(), rounds=rounds, python=lambda name: pythons.get(name, Path("nowhere/python"))
    )


def test_real_adapters_agree_and_are_timed(networks: Path) -> None:
    spot = Row("ours", "spot", "here", FLOAT, "int8.tflite", "ai-edge-litert")
    small = [replace(FLOOR, variant=INT8), replace(spot, variant=INT8)]
    tool = Row("tool", "google_benchmark", "here", INT8, "int8.tflite", every=2)
    found = run(networks, *small, FLOOR, spot, tool)
    assert not problems(found)
    for entry in found[:4]:
        assert entry.samples("bare").shape == entry.samples("file").shape == (ROUNDS, CALLS)
        assert entry.agreement == "5 of 5, within 0"
        # by how much a file takes longer than a tensor is not asked: on a busy machine noise may be more than that
        assert min(entry.samples("bare").min(), entry.samples("file").min()) > 0
    assert found[4].samples("bare").shape == (1, 1)
    assert (found[4].agreement, list(found[4].times)) == ("gives no scores", ["bare"])
    ratio = against(found[1], found[0], "file")
    assert ratio is not None
    assert ratio.low <= ratio.value <= ratio.high
    text = page(found, describe_machine(), 0.5, ROUNDS, 1)
    assert "do not trust" in text
    assert text.count("| ours | ai-edge-litert ") == 2
    lines = target_lines(found)
    assert "target 1.05" in lines[0]
    assert lines[1].endswith("MediaPipe: not measured")


def test_a_peer_that_is_not_installed_is_a_row_that_says_how_to(networks: Path, odd: Callable[[str], Path]) -> None:
    absent = Row("absent", "openvino", "openvino", INT8, "int8.tflite")
    empty = Row("empty", "onnxruntime", "odd", INT8, "int8.tflite")
    unmade = Row("unmade", "onnxruntime", "here", INT8, "int8.onnx")
    found = run(networks, FLOOR, absent, empty, unmade, odd=odd("import a_peer_that_nobody_has"))
    assert found[0].samples("bare").size
    assert not problems(found)
    text = page(found, describe_machine(), 0.0, ROUNDS, 1)
    for peer, environment in (("absent", "openvino"), ("empty", "odd"), ("unmade", "torch")):
        folder = f".venv-peers-{environment}"
        how = f"python3.11 -m venv {folder} && {folder}/bin/pip install -r constraints/peers-{environment}.txt"
        assert f"| {peer} | not installed: `{how}` |" in text


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("print('no room', file=sys.stderr); sys.exit(3)", "ended with exit code 3: no room"),
        ("print('ready')", "invalid reply"),
        ("print(json.dumps(hello), flush=True); sys.stdin.readline(); sys.exit('fell over')", "fell over"),
        ("print(json.dumps(hello), flush=True)", "ended with exit code 0"),
        ("print(json.dumps(hello), flush=True); input(); print([1, 2])", "got [1, 2]"),
        ("print(json.dumps(hello | {'scores': [[0.5, 0.5]]}), flush=True)", "scores of shape [1, 2]"),
        ("print(json.dumps(hello | {'scores': [[1, 0, 0, 0, 0, 0, 0]] * 5}), flush=True)", "not the same network"),
    ],
    ids=["dies", "babbles", "falls over", "leaves", "miscounts", "other labels", "other scores"],
)
def test_an_adapter_that_goes_wrong_is_an_error_and_the_others_stay(
    networks: Path, odd: Callable[[str], Path], program: str, said: str
) -> None:
    wrong = Row("wrong", "torch", "odd", FLOAT, "int8.tflite")
    found = run(networks, FLOOR, wrong, odd=odd(program))
    assert said in found[1].error
    assert found[1].samples("bare").size == 0
    assert found[0].samples("file").shape == (ROUNDS, CALLS)
    assert problems(found) == [f"wrong, float32: {found[1].error}"]
    assert "| wrong | error: " in page(found, describe_machine(), None, ROUNDS, 1)


def test_a_file_that_is_ranked_unlike_its_tensor(networks: Path, odd: Callable[[str], Path]) -> None:
    with_scores = Child(Path(sys.executable), "experiments.peers.adapters.litert", _task(networks))
    hello = with_scores.hello
    with_scores.end()
    program = f"print({json.dumps(hello | {'first': 'vasc'})!r}, flush=True); sys.stdin.read()"
    found = run(networks, FLOOR, Row("wrong", "torch", "odd", FLOAT, "int8.tflite"), odd=odd(program))
    assert "ranks vasc first from the file" in found[1].error


def test_an_adapter_that_hangs_is_given_up(networks: Path, odd: Callable[[str], Path]) -> None:
    with pytest.raises(AdapterError, match=r"no reply within 0\.2 s"):
        Child(odd("sys.stdin.read()"), "experiments.peers.adapters.litert", _task(networks), patience=0.2)


def test_without_the_floor_there_is_nothing_to_compare_with(networks: Path) -> None:
    with pytest.raises(InterpreterError, match="floor: not installed"):
        run(networks, replace(FLOOR, environment="absent"))


def test_every_row_has_an_adapter_and_pinned_packages(repository: Path) -> None:
    for row in ROWS:
        assert (repository / "experiments" / "peers" / "adapters" / f"{row.adapter}.py").is_file()
        listed = (repository / "constraints" / f"peers-{row.environment}.txt").read_text().splitlines()
        assert all("==" in line for line in listed if not line.startswith("#"))


def test_the_command_writes_the_page_and_its_exit_code(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: Callable[[str], Path]
) -> None:
    pythons = {"here": Path(sys.executable), "odd": odd("sys.exit('broken')")}
    monkeypatch.setattr(experiments.peers.__main__, "python_of", lambda name: pythons.get(name, tmp_path / "none"))
    rows = (FLOOR, Row("absent", "torch", "absent", INT8, "int8.tflite"))
    arguments = ["--networks", str(networks), "--page", str(tmp_path / "peers.md"), "--rounds", "6"]
    monkeypatch.setattr(experiments.peers.__main__, "ROWS", rows)
    done = CliRunner().invoke(experiments.peers.__main__.main, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "2 rows" in done.output
    monkeypatch.setattr(experiments.peers.__main__, "ROWS", (FLOOR, Row("wrong", "torch", "odd", INT8, "int8.tflite")))
    with pytest.raises(CheckError, match="wrong, int8: ended with exit code 1: broken"):
        CliRunner().invoke(experiments.peers.__main__.main, arguments, catch_exceptions=False)
    assert "error: ended" in (tmp_path / "peers.md").read_text()


def test_without_networks_it_ends_with_one_line(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "experiments.peers",
        "--networks",
        str(tmp_path),
        "--page",
        str(tmp_path / "peers.md"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == InterpreterError.exit_code
    assert done.stderr.splitlines()[-1] == "peers: LiteRT, bare loop: not installed: nothing to compare with"


def _task(networks: Path) -> dict[str, object]:
    model = read_model()
    return {
        "network": str(networks / "int8.tflite"),
        "picture": str(networks / "picture.jpg"),
        "tensors": str(networks / "tensors.npy"),
        "side": model.spec.image.size,
        "labels": [label.label for label in model.spec.labels],
        "temperature": 1.0,
        "threads": 1,
        "runtime": None,
    }
