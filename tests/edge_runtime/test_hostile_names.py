"""Names and folders as nobody would choose them, and names that do something to who reads them."""

from __future__ import annotations

import csv
import json
import os
import pty
import shutil
import sys
import threading
from pathlib import Path

import pytest

from spot_edge.commands.records import csv_line, csv_text
from spot_edge.errors import InputError, OutputError
from spot_edge.files import make_folder, read_file
from spot_edge.image.inputs import find_images
from spot_edge.image.source import Source
from spot_edge.model.file import seal, verify

pytestmark = pytest.mark.skipif(os.name != "posix", reason="NOT RUN: POSIX file names, pipes and terminals")
ESCAPE = "\033]0;owned\007\033[2J"


@pytest.fixture
def deep(tmp_path: Path, lesion: bytes):
    """A folder with an image 1,100 levels below it, which Python's own functions cannot remove."""
    top, here = tmp_path / "deep", os.open(tmp_path, os.O_RDONLY)
    os.mkdir("deep", dir_fd=here)
    for _ in range(1100):
        inner = os.open("d" if _ else "deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
        os.mkdir("d", dir_fd=here)
    with open(os.open("x.png", os.O_WRONLY | os.O_CREAT, dir_fd=here), "wb") as file:
        file.write(lesion)
    os.close(here)
    yield top
    while (top / "d/d").exists():  # flatten it
        os.rename(top / "d/d", top / "e")
        shutil.rmtree(top / "d")
        os.rename(top / "e", top / "d")


def test_a_folder_1100_levels_deep(spot_edge, deep: Path, picture: Path, tmp_path: Path) -> None:
    result = spot_edge("classify", deep, picture, "--json", "--save", tmp_path / "kept")
    assert [json.loads(line)["source"]["name"][-5:] for line in result.stdout.splitlines()] == ["x.png", "n.png"]
    assert (result.returncode, len(list((tmp_path / "kept").iterdir()))) == (0, 4)


def test_a_pattern_for_a_folder_1100_levels_deep_is_one_problem(deep: Path) -> None:
    (found,) = find_images([f"{deep}/**/*.png"])
    assert found.problem is None or "too many levels" in str(found.problem)


def test_a_new_folder_of_thousands_of_levels_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot create this folder"):
        make_folder(tmp_path / "/".join("a" * 1500))


def test_links_to_folders_are_not_followed(tmp_path: Path, lesion: bytes) -> None:
    (tmp_path / "in" / "below").mkdir(parents=True)
    (tmp_path / "in" / "below" / "a.png").write_bytes(lesion)
    (tmp_path / "in" / "circle.png").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "b.png").symlink_to(tmp_path / "in" / "below" / "a.png")
    assert [each.relative for each in find_images([str(tmp_path / "in")])] == ["b.png", "below/a.png"]


DELETED = "import os, shutil; os.chdir({0!r}); shutil.rmtree({0!r})"


@pytest.mark.parametrize("options", [[], ["--json", "--out"], ["--burst", "3"], ["--save"], ["--heatmap"]])
def test_a_working_folder_that_was_deleted(options: list[str], start, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    where = [tmp_path / "result"] if options and options[-1].startswith("--") else []
    before = DELETED.format(str(tmp_path / "gone"))
    running = start("classify", "a.png", "folder/b.png", ".", picture, *options, *where, before=before)
    output, errors = running.communicate()
    assert b"Traceback" not in errors
    assert running.returncode == 3
    assert b"a.png: no such file" in errors
    assert b"spot-edge: 3 of 4" in errors
    if "--json" in options:
        assert len((tmp_path / "result").read_bytes().splitlines()) == 4
    else:
        assert b"triage" in output


def test_results_for_a_working_folder_that_was_deleted(start, picture: Path, tmp_path: Path) -> None:
    for options in (["--json", "--out", "a"], ["--save", "a"]):
        (tmp_path / "gone").mkdir()
        running = start("classify", picture, *options, before=DELETED.format(str(tmp_path / "gone")))
        assert b"Traceback" not in running.communicate()[1]
        assert running.returncode == 6


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_a_file_name_with_very_many_line_breaks(form: str, spot_edge, picture: Path, lesion, tmp_path: Path) -> None:
    names = ["\n" * 200 + ".png", '"\n' * 100 + ".png", "missing" + "\n" * 200, "too long" + "\n" * 131_000]
    for name in names[:2]:
        (tmp_path / name).write_bytes(lesion)
    out = tmp_path / "predictions"
    command = ["classify", picture, *names, picture, form, "--out", out]
    assert spot_edge(*command, cwd=tmp_path).returncode == 3
    content = out.read_bytes()
    out.write_bytes(content[:-10])
    assert spot_edge(*command, "--resume", cwd=tmp_path).returncode == 3
    assert out.read_bytes()[:500] == content[:500]
    if form == "--csv":
        assert out.read_bytes() == content


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_a_record_without_an_end_is_not_read_whole(form: str, spot_edge, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "predictions"
    spot_edge("classify", picture, form, "--out", out)
    with out.open("ab") as file:
        file.write(b'"\n' + (b"," * 1000 + b"\n") * 20_000 if form == "--csv" else b"x" * 20_000_000)
    result = spot_edge("classify", picture, form, "--out", out, "--resume")
    assert result.returncode == 6
    assert b"record 2 is damaged" in result.stderr


def test_a_record_of_many_levels_is_damaged(spot_edge, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "predictions.jsonl"
    spot_edge("classify", picture, "--json", "--out", out)
    with out.open("ab") as file:
        file.write(b'{"schema": 1, "source": {"kind": ' + b"[" * 100_000 + b"\n")
    result = spot_edge("classify", picture, "--json", "--out", out, "--resume")
    assert (result.returncode, result.stderr.count(b"\n")) == (6, 1)
    assert b"record 2 is damaged" in result.stderr


def test_the_name_of_a_model_file_neither_fakes_lines_nor_controls_the_terminal(model, spot_edge, tmp_path) -> None:
    path = tmp_path / f"model{ESCAPE}\nid          {'2' * 60}.tflite"
    path.write_bytes(model.content)
    result = spot_edge("info", path)
    lines = result.stdout.decode().splitlines()
    assert result.returncode == 0
    assert all(line.isprintable() for line in lines)
    assert [line for line in lines if line.startswith("id ")] == [f"id          {model.id}"]


def test_a_line_break_in_a_text_of_a_model_file_fakes_no_line(model, flatbuffer, spot_edge, picture, tmp_path) -> None:
    def fake(line: str) -> str:
        return f"x\n{line}"

    spec, line = model.spec, f"id          {'0' * 64}"
    labels = tuple(each._replace(name=fake("  triage           ROUTINE")) for each in spec.labels)
    training = {fake(line): fake(line)}
    spec = spec._replace(name=fake(line), labels=labels, notice=fake(line), licence=fake(line), training=training)
    path = tmp_path / "model.tflite"
    path.write_bytes(seal(flatbuffer, spec, {"embedding.npz": model.members["embedding.npz"]}))
    shown = spot_edge("info", path).stdout.decode().splitlines()
    assert [line for line in shown if line.startswith("id ")] == [f"id          {verify(path.read_bytes(), 'm').id}"]
    shown = spot_edge("classify", picture, "--model", path, "--top", "7").stdout.decode().splitlines()
    assert sum(line.startswith("  triage") for line in shown) == 1


def on_a_terminal(*arguments: object) -> str:
    """What the command writes to a terminal as its standard output."""
    import subprocess

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "spot_edge.cli", *map(str, arguments)]
    running = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    shown = b""
    while part := _read(ours):
        shown += part
    running.wait()
    os.close(ours)
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the last process that has it open has ended
        return b""


@pytest.mark.parametrize("form", ["--json", "--csv", "--top=2"])
def test_nothing_controls_the_terminal(form: str, lesion: bytes, tmp_path: Path) -> None:
    for name in (f"{ESCAPE}.png", f"{ESCAPE} damaged.png"):
        (tmp_path / name).write_bytes(lesion if "damaged" not in name else b"x")
    shown = on_a_terminal("classify", tmp_path, form)
    assert ".png" in shown
    assert all(line.isprintable() for line in shown.replace("\r\n", "\n").split("\n"))


FORMULAS = ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\uff1d1", "-2+3.png", "'=1", "''@x", "-x"]


@pytest.mark.parametrize("name", FORMULAS)
def test_a_name_that_is_a_formula_begins_with_an_apostrophe(name: str) -> None:
    ((cell, other),) = csv.reader([csv_line([name, "x"])]) if "\r" not in name else [[f"'{name}", "x"]]
    assert (cell, other) == (f"'{name}", "x")
    assert csv_text(cell) == name


@pytest.mark.parametrize("name", ["-", "a=1", "'tis", "'", "", "0.5", " =1", "\u00e4.png"])
def test_other_names_stay_as_they_are(name: str) -> None:
    assert csv_line([name, "x"]).removesuffix(",x") in (name, f'"{name}"')
    assert csv_text(name) == name


def test_formulas_in_a_file_that_is_resumed(spot_edge, lesion: bytes, tmp_path: Path) -> None:
    for name in ("=1+1.png", "'=1+1.png", "+.png", "@bad.png"):
        (tmp_path / name).write_bytes(lesion if "bad" not in name else b"x")
    names = sorted(path.name for path in tmp_path.iterdir())
    command = ["classify", *names, "--csv", "--out", "out.csv"]
    assert spot_edge(*command, cwd=tmp_path).returncode == 3
    content = (tmp_path / "out.csv").read_bytes()
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            assert not any(cell[:1] in ("=", "+", "-", "@") for cell in row)
    assert spot_edge(*command, "--resume", cwd=tmp_path).returncode == 3
    assert (tmp_path / "out.csv").read_bytes() == content


def within(seconds: float, function) -> object:
    """What the function returns or raises, which must not take longer."""
    ended: list[object] = []

    def call() -> None:
        try:
            ended.append(function())
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    assert ended, "hangs"
    return ended[0]


def test_a_file_that_never_ends_or_never_answers_is_refused(tmp_path: Path) -> None:
    for name in ("/proc/kmsg", "/proc/kcore", "/proc/kpagecount"):
        if os.access(name, os.R_OK):
            found = within(20, lambda name=name: read_file(name, 1 << 20))
            assert isinstance(found, OSError | bytes)
            assert not isinstance(found, bytes) or len(found) <= 1 << 20


def test_a_pipe_that_takes_the_name_of_a_file_is_refused(tmp_path: Path, monkeypatch) -> None:
    """Between the look at the file and its opening."""
    (tmp_path / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    before, look = os.stat(tmp_path / "file"), os.stat
    monkeypatch.setattr(os, "stat", lambda path, **options: before if "pipe" in str(path) else look(path, **options))
    error = within(20, lambda: Source.of(tmp_path / "pipe").read())
    assert isinstance(error, InputError)
    assert str(error).endswith("pipe: cannot be read: not a regular file")


def test_a_file_that_grows_is_read_up_to_the_limit(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 100)
    small = os.stat(path)
    with path.open("ab") as file:
        file.write(b"y" * (3 << 20))
    monkeypatch.setattr(os, "fstat", lambda handle: small)
    assert len(read_file(path, 4 << 20)) == 100 + (3 << 20)
    with pytest.raises(OSError, match="larger than 1 MB"):
        read_file(path, 1 << 20)


def test_a_pipe_that_takes_the_name_of_the_output_file(tmp_path: Path, model, monkeypatch) -> None:
    from spot_edge.commands.output_file import PredictionFile

    os.mkfifo(tmp_path / "out")
    monkeypatch.setattr(Path, "is_file", lambda path: True)
    error = within(20, lambda: PredictionFile(tmp_path / "out", "json", model.id, [], resume=True))
    assert isinstance(error, OutputError)
