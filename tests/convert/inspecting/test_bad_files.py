"""Bad files give a one-line error, and no file can crash the command."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema
from files_by_hand import EMBEDDED, Made, chain, chain_weights, run

from spot_convert.inspect.graph import read_flatbuffer
from spot_edge.errors import ModelError
from spot_edge.isolated import Crash, call_isolated


@pytest.mark.parametrize("content", [b"", b"TFL", os.urandom(5000), b"\x10\0\0\0TFL3" + b"\xff" * 5000])
def test_garbage_gives_a_one_line_error(content: bytes, write: Callable[[bytes], Path]) -> None:
    done = run(write(content))
    assert isinstance(done.exception, ModelError)
    assert "\n" not in str(done.exception)


def test_a_missing_file_and_a_folder_are_reported(tmp_path: Path) -> None:
    assert "No such file" in str(run(tmp_path / "none.tflite").exception)
    assert "a folder" in str(run(tmp_path).exception)


def test_damaged_files_raise_model_errors_only(write: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spot_convert.inspect.record.try_runtimes", lambda content, model: [])  # starts a process
    sound, chance, refused = chain(chain_weights(), int8=True), random.Random(5), 0
    for _ in range(300):
        content = bytearray(sound)
        for _ in range(chance.choice([1, 2, 20])):
            place = chance.randrange(8, len(content) - 4)
            content[place : place + 4] = chance.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", os.urandom(4)])
        done = run(write(bytes(content)), "--layers", "--json")
        refused += isinstance(done.exception, ModelError)
    assert 0 < refused < 300


def test_absurd_counts_are_rejected_at_once() -> None:
    made = Made()
    fed = made.tensor("fed", [1])
    made.graph.operators = []
    content = bytearray(made.bytes([fed], [fed]) + bytes(1 << 20))
    model = schema.Model.GetRootAs(bytes(content), 0)
    length = model.Subgraphs(0)._tab.Vector(model.Subgraphs(0)._tab.Offset(4)) - 4
    content[length : length + 4] = (600_000).to_bytes(4, "little")
    with pytest.raises(ModelError, match="more than 500000 parts"):
        read_flatbuffer(bytes(content), "x")


def test_a_function_that_ends_its_process_is_reported() -> None:
    with pytest.raises(Crash, match=r"signal 6 \(aborted\)"):
        call_isolated(60, os.abort)
    with pytest.raises(Crash, match="within 1 s"):
        call_isolated(1, time.sleep, 60)
    with pytest.raises(Crash, match="ZeroDivisionError"):
        call_isolated(60, divmod, 1, 0)


def test_tensorflow_is_never_imported() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom spot_convert.commands.inspect import inspect\n"
        f"done = CliRunner().invoke(inspect, [{str(EMBEDDED)!r}, '--layers'])\nassert done.exit_code == 0\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
