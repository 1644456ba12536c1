"""`spot-edge data split`, and the help of the group."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spot_bench.data.manifest import read_manifest
from spot_edge.errors import DataError, OutputError
from spot_train.commands.data import data


def run(*args: object) -> Result:
    return CliRunner().invoke(data, ["split", *map(str, args)])


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = []
    for number in range(60):
        (tmp_path / f"{number}.jpg").touch()
        rows.append(f"{number}.jpg,{'ab'[number % 3 == 0]},L{number // 2}\n")
    path = tmp_path / "data.csv"
    path.write_text("image,label,group\n" + "".join(rows))
    return path


def test_a_split_is_written_printed_and_reproducible(manifest: Path, tmp_path: Path) -> None:
    result = run(manifest, "--out", tmp_path / "one.csv")
    assert result.exit_code == 0
    assert run(manifest, "--out", tmp_path / "two.csv").stdout == result.stdout
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    run(manifest, "--out", tmp_path / "three.csv", "--seed", 1)
    assert (tmp_path / "three.csv").read_bytes() != (tmp_path / "one.csv").read_bytes()
    done = read_manifest(tmp_path / "one.csv")
    assert len(done.items) == 60
    head, *_, last = result.stdout.splitlines()
    assert head.split() == ["label", "share", "images", "(groups)", "train", "val", "calibrate", "test"]
    assert last.split()[:4] == ["all", "100.0", "%", "60"]


def test_custom_fractions(manifest: Path, tmp_path: Path) -> None:
    assert run(manifest, "--out", tmp_path / "s.csv", "--fractions", "train=.5, val=.5").exit_code == 0
    done = read_manifest(tmp_path / "s.csv")
    assert {name: len(done.split(name).items) for name in done.splits} == {"train": 30, "val": 30}


@pytest.mark.parametrize("text", ["train", "train=x", "train=.5,train=.5", ""])
def test_unreadable_fractions_are_a_usage_error(manifest: Path, tmp_path: Path, text: str) -> None:
    result = run(manifest, "--out", tmp_path / "s.csv", "--fractions", text)
    assert result.exit_code == 2
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize("text", ["train=.5,val=.4", "training=1", "train=nan,val=1", "train=2,val=-1"])
def test_invalid_fractions_are_refused(manifest: Path, tmp_path: Path, text: str) -> None:
    result = run(manifest, "--out", tmp_path / "s.csv", "--fractions", text)
    assert isinstance(result.exception, DataError)
    assert not (tmp_path / "s.csv").exists()


def test_existing_files_are_kept_and_a_replaced_split_is_noted(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.csv"
    run(manifest, "--out", out)
    assert isinstance(run(manifest, "--out", out).exception, OutputError)
    assert "is replaced" in run(out, "--out", tmp_path / "t.csv").stderr


def test_help_imports_nothing_heavy_and_a_missing_library_is_reported() -> None:
    code = (
        "import sys; sys.modules['imagehash'] = None\n"
        "from spot_edge.cli import main\n"
        "import atexit; atexit.register(lambda: print(sorted({'numpy', 'PIL', 'scipy'} & set(sys.modules))))\n"
        "main(sys.argv[1:])"
    )

    def ends(*args: str) -> tuple[int, str, str]:
        done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    status, shown, _ = ends("data", "--help")
    assert status == 0
    assert shown.endswith("[]\n")
    assert all(name in shown for name in ("check", "split", "fetch"))
    status, _, complaint = ends("data", "check", "x")
    assert status == 2
    assert "ImageHash is not installed. Install it from a clone" in complaint
