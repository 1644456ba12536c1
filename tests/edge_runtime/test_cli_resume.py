"""`spot-edge classify --out FILE --resume`: an interrupted run, resumed, gives the result of one run."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from spot_edge.commands.output_file import PredictionFile
from spot_edge.commands.records import csv_header, csv_line
from spot_edge.errors import OutputError

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals, limits and file names")
FORMS = pytest.mark.parametrize("form", ["--json", "--csv"])
ENDED = "{}: 26 images classified\nspot-edge: 4 of 30 images could not be classified\n"


@pytest.fixture
def folder(tmp_path: Path, draw, encode) -> Path:
    """Thirty different images; every seventh is damaged, and one has an awkward name."""
    inside = tmp_path / "scans"
    inside.mkdir()
    for number in range(30):
        content = encode(np.roll(draw(120, 80), 5 * number, axis=1), "JPEG")
        name = 'a "b",\nc\rd' if number == 12 and os.name == "posix" else "mole"
        (inside / f"{number:02} {name}.jpg").write_bytes(content[:60] if number % 7 == 3 else content)
    return inside


def without_times(path: Path) -> object:
    """The content of a file without the times in it."""
    if path.suffix == ".csv" or path.suffix in (".jpg", ".png"):
        return path.read_bytes()
    text = path.read_text()
    records = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else [json.loads(text)]
    return [[(key, value) for key, value in record.items() if key != "timings_ms"] for record in records]


def contents(folder: Path) -> dict[str, object]:
    return {path.name: without_times(path) for path in folder.iterdir()}


def output_file(folder: Path, form: str) -> Path:
    return folder / {"--json": "predictions.jsonl", "--csv": "predictions.csv"}[form]


def names(path: Path) -> list[str]:
    """The images with a prediction in the file; in CSV the last one may be incomplete."""
    if path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as file:
            return [row["source"] for row in csv.DictReader(file)]
    return [json.loads(line)["source"]["name"] for line in path.read_text().splitlines(True) if line[-1] == "\n"]


@FORMS
def test_the_file_holds_what_standard_output_would(form: str, spot_edge, folder, tmp_path) -> None:
    out = output_file(tmp_path, form)
    result = spot_edge("classify", folder, form, "--out", out)
    printed = spot_edge("classify", folder, form)
    *problems, failed = printed.stderr.splitlines()
    assert (result.returncode, result.stdout) == (3, b"")
    assert result.stderr.splitlines() == [*problems, f"{out}: 26 images classified".encode(), failed]
    shown = tmp_path / f"shown{out.suffix}"
    shown.write_bytes(printed.stdout)
    assert without_times(shown) == without_times(out)


# The process kills itself before it opens, links or removes a file, some steps after its first prediction.
KILLED = """
import os, signal, sys
steps = {}
def kill(event, arguments):
    global steps
    if event in ("open", "os.rename", "os.link", "os.remove") and os.path.exists({!r}) and os.path.getsize({!r}) > {}:
        steps -= 1
        if steps < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
"""


@posix
@FORMS
@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_run_killed_many_times_resumes(form: str, threads: str, spot_edge, start, folder, tmp_path) -> None:
    whole, parts, random_numbers = tmp_path / "whole", tmp_path / "parts", random.Random(form + threads)
    for out in (whole, parts):
        out.mkdir()

    def command(out: Path) -> list[object]:
        kept = ["--out", output_file(out, form), "--save", out, "--heatmap", out]
        return ["classify", folder, form, *kept, "--threads", threads]

    assert spot_edge(*command(whole)).returncode == 3
    file = output_file(parts, form)
    for _ in range(6):
        size = file.stat().st_size if file.exists() else 0
        kill = KILLED.format(random_numbers.randrange(20), str(file), str(file), size)
        assert start(*command(parts), "--resume", before=kill).wait() == -signal.SIGKILL
    assert spot_edge(*command(parts), "--resume").returncode == 3
    assert contents(parts) == contents(whole)


@FORMS
def test_a_file_cut_anywhere_resumes(form: str, spot_edge, folder, tmp_path) -> None:
    """As after a power failure: cut at any byte, with the last saved files complete or partly missing."""
    out, random_numbers = output_file(tmp_path, form), random.Random(3)
    kept, command = tmp_path / "kept", ["classify", folder, form, "--out", out, "--save", tmp_path / "kept"]
    spot_edge(*command)
    whole, before, content = without_times(out), contents(kept), out.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == 10]
    for place in (0, 1, ends[0] - 1, ends[0], ends[12] + 1, ends[13], *random_numbers.sample(range(len(content)), 3)):
        out.write_bytes(content[:place])
        done = names(out)
        for path in random_numbers.sample(sorted(kept.glob("*.json")), 5):  # each is written after its .jpg
            if json.loads(path.read_text())["source"]["name"] not in done:
                path.unlink()
        assert spot_edge(*command, "--resume").returncode == 3
        assert without_times(out) == whole
        assert contents(kept) == before


@FORMS
def test_resuming_a_complete_run_changes_nothing(form: str, spot_edge, folder, tmp_path) -> None:
    out = output_file(tmp_path, form)
    spot_edge("classify", folder, form, "--out", out)
    content = out.read_bytes()
    result = spot_edge("classify", folder, form, "--out", out, "--resume")
    assert (result.returncode, result.stderr.decode()) == (3, ENDED.format(out))
    assert out.read_bytes() == content


LABELS, MODEL = ["nv", "mel"], "5f"
NAMES = ["a.jpg", "b, c.jpg", "d\ne, f.jpg", 'g "h", i.jpg', "j.jpg", "k.jpg", 'l\n"m".jpg', "n, o.jpg", "p.jpg"]


def rows(failed: Sequence[str]) -> list[bytes]:
    """Rows of a small CSV, the header first; the images `failed` could not be classified."""
    results = {name: ["nv", "routine", ".1", ".9", ".1", MODEL, ""] for name in NAMES}
    results |= {name: [""] * 6 + [f"{name}: cut, or bad"] for name in failed}
    return [f"{csv_line(cells)}\n".encode() for cells in (csv_header(LABELS), *([k, *v] for k, v in results.items()))]


@pytest.mark.parametrize("failed", [NAMES[::2], NAMES[1::2]], ids=len)
def test_a_stray_quote_anywhere_loses_nothing(failed: list[str], tmp_path: Path) -> None:
    """A quote opens a cell that only the end of the file would close."""
    whole, out = b"".join(rows(failed)), tmp_path / "out.csv"
    for place in range(len(whole) + 1):
        damaged = whole[:place] + b'"' + whole[place:]
        out.write_bytes(damaged)
        with suppress(OutputError):
            PredictionFile(out, "csv", MODEL, LABELS, resume=True).close()
        assert damaged.removesuffix(b'"') == out.read_bytes().removesuffix(b'"'), place


@pytest.mark.parametrize("failed", [NAMES[::2], NAMES[1::2]], ids=len)
def test_half_a_row_at_the_end_is_removed(failed: list[str], tmp_path: Path) -> None:
    out, complete = tmp_path / "out.csv", b""
    for row in rows(failed):
        for length in range(len(row)):
            out.write_bytes(complete + row[:length])
            PredictionFile(out, "csv", MODEL, LABELS, resume=True).close()
            assert out.read_bytes() == complete
        complete += row


def test_many_lines_in_an_open_cell_are_damage(tmp_path: Path) -> None:
    out, content = tmp_path / "out.csv", b"".join(rows([])) + b'"' + b"note\n" * 100
    out.write_bytes(content)
    with pytest.raises(OutputError, match=r"out\.csv: record 10 is damaged: repair it, or choose another file"):
        PredictionFile(out, "csv", MODEL, LABELS, resume=True)
    assert out.read_bytes() == content


def test_a_stray_quote_exits_with_6(spot_edge, folder, tmp_path) -> None:
    out = tmp_path / "predictions.csv"
    spot_edge("classify", folder, "--csv", "--out", out)
    damaged = out.read_bytes().replace(b"20 mole", b'20 "mole')
    out.write_bytes(damaged)
    result = spot_edge("classify", folder, "--csv", "--out", out, "--resume")
    assert (result.returncode, result.stderr.count(b"\n")) == (6, 1)
    assert b"record 21 is damaged" in result.stderr
    assert out.read_bytes() == damaged


def test_resuming_without_a_file_starts_a_run(spot_edge, picture, tmp_path) -> None:
    out = tmp_path / "predictions.jsonl"
    result = spot_edge("classify", picture, "--json", "--out", out, "--resume")
    assert (result.returncode, result.stderr.decode()) == (0, f"{out}: 1 image classified\n")
    assert names(out) == [str(picture)]


@FORMS
def test_an_image_is_recognized_by_any_path(form: str, spot_edge, folder, tmp_path) -> None:
    out = output_file(tmp_path, form)
    spot_edge("classify", folder, form, "--out", out)
    content = out.read_bytes()
    for where, name in ((tmp_path, "scans"), (folder, "."), (folder, f"..{os.sep}scans{os.sep}"), (tmp_path, "*/*")):
        assert spot_edge("classify", name, form, "--out", out, "--resume", cwd=where).returncode == 3
        assert out.read_bytes() == content


def test_other_images_are_refused(spot_edge, folder, picture, tmp_path) -> None:
    out = tmp_path / "predictions.csv"
    spot_edge("classify", "scans", "--csv", "--out", out, cwd=tmp_path)
    other = spot_edge("classify", folder, "--csv", "--out", out, "--resume", cwd=folder)
    assert other.returncode == 6
    assert b"holds predictions for other images, such as scans" in other.stderr
    assert len(names(out)) == 30


def test_new_images_are_added(spot_edge, folder, lesion, tmp_path) -> None:
    out = tmp_path / "predictions.jsonl"
    spot_edge("classify", folder, "--json", "--out", out)
    before = names(out)
    (folder / "00.png").write_bytes(lesion)
    (folder / "29 mole.jpg").unlink()
    result = spot_edge("classify", folder, "--json", "--out", out, "--resume")
    assert names(out) == [*before, str(folder / "00.png")]
    assert result.stderr.decode() == ENDED.format(out)


def test_a_failed_image_is_retried_once_its_line_is_removed(spot_edge, folder, lesion, tmp_path) -> None:
    out = tmp_path / "predictions.jsonl"
    spot_edge("classify", folder, "--json", "--out", out)
    bad = [name for name, line in zip(names(out), out.read_text().splitlines(), strict=True) if '"error"' in line]
    for name in bad:
        Path(name).write_bytes(lesion)
    assert spot_edge("classify", folder, "--json", "--out", out, "--resume").returncode == 3
    out.write_text("".join(line for line in out.read_text().splitlines(True) if '"error"' not in line))
    assert spot_edge("classify", folder, "--json", "--out", out, "--resume").returncode == 0
    assert names(out)[-4:] == bad
    assert len(names(out)) == 30


def test_an_image_named_twice_has_two_predictions(spot_edge, picture, tmp_path) -> None:
    out = tmp_path / "predictions.csv"
    spot_edge("classify", picture, "--csv", "--out", out)
    assert spot_edge("classify", picture, picture, "--csv", "--out", out, "--resume").returncode == 0
    assert spot_edge("classify", picture, picture, "--csv", "--out", out, "--resume").returncode == 0
    assert names(out) == [str(picture)] * 2


@posix
@FORMS
def test_a_name_that_is_not_unicode(form: str, spot_edge, lesion, tmp_path) -> None:
    if sys.platform == "darwin":
        pytest.skip("NOT RUN: this file system rejects such names")
    out, picture = output_file(tmp_path, form), os.fsdecode(os.path.join(os.fsencode(tmp_path), b"\xff\xfe.png"))
    Path(picture).write_bytes(lesion)
    spot_edge("classify", picture, form, "--out", out)
    content = out.read_bytes()
    assert spot_edge("classify", picture, form, "--out", out, "--resume").returncode == 0
    assert out.read_bytes() == content


@posix
@FORMS
def test_a_full_disk_exits_with_6_and_can_be_resumed(form: str, spot_edge, start, folder, tmp_path) -> None:
    import resource

    out = output_file(tmp_path, form)
    size = {"--json": 20_000, "--csv": 2_000}[form]
    full = start(
        *("classify", folder, form, "--out", out),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    _, stderr = full.communicate(timeout=60)
    assert full.returncode == 6
    assert stderr.decode().splitlines()[-1] == f"spot-edge: {out}: cannot be written: File too large"
    assert out.stat().st_size == size
    assert not out.read_bytes().endswith(b"\n")
    assert spot_edge("classify", folder, form, "--out", out, "--resume").returncode == 3
    spot_edge("classify", folder, form, "--out", whole := output_file(folder, form))
    assert without_times(out) == without_times(whole)


def test_results_of_another_run_are_kept(spot_edge, folder, tmp_path) -> None:
    """Where results of other images already have the same names, the new ones get numbers."""
    out, kept = tmp_path / "predictions.csv", tmp_path / "kept"
    kept.mkdir()
    (kept / "00 mole.jpg").write_bytes(b"another")
    (kept / "01 mole.json").write_text("{}")
    command = ["classify", folder, "--csv", "--out", out, "--save", kept]
    spot_edge(*command)
    whole = contents(kept)
    out.unlink()  # as if the power had failed before the first prediction was written
    spot_edge(*command, "--resume")
    assert contents(kept) == whole
    assert (kept / "00 mole.jpg").read_bytes() == b"another"
    assert (kept / "00 mole-2.jpg").exists()


@posix
def test_partial_files_of_dead_processes_are_removed(spot_edge, folder, python, tmp_path) -> None:
    kept, dead = tmp_path / "kept", int(python("-c", "import os; print(os.getpid())").stdout)
    kept.mkdir()
    half, alive = kept / f".00\nmole.jpg.{dead}-140", kept / f".00 mole.jpg.{os.getpid()}-140"
    other = kept / f".note.txt.{dead}-140"
    for path in (half, alive, other):
        path.write_bytes(b"half")
    command = ["classify", folder, "--csv", "--out", tmp_path / "predictions.csv", "--save", kept, "--resume"]
    spot_edge(*command)
    assert [path.exists() for path in (half, alive, other)] == [False, True, True]
