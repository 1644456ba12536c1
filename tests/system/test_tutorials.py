"""The tutorials as a newcomer works through them: every code block, in order, in a copy of the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TUTORIALS = REPOSITORY / "docs" / "tutorials"
NOTEBOOK = TUTORIALS / "train-quantize-ship.ipynb"

# An optional comment that says how the block differs from "run it, and expect 0", then the block.
BLOCK = re.compile(
    r"(?:^<!-- (?P<remark>[^\n]+) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
HARDWARE = ("not run: needs a Pi", "not run: needs a camera")

# These blocks need hardware, so nothing here runs them. Every other block is run.
NOT_RUN = {
    "first-answer-on-a-pi": [
        "sudo apt install python3-venv",
        "spot-edge camera list\nspot-edge camera preview --seconds 20\nspot-edge classify --camera --save kept",
        "spot-edge kiosk --save kept",
    ],
    "put-it-in-an-app": [],
    "train-quantize-ship": [],
}


@dataclass(frozen=True)
class Block:
    kind: str
    text: str
    remark: str


def blocks(tutorial: str) -> list[Block]:
    page = (TUTORIALS / f"{tutorial}.md").read_text()
    return [Block(found["kind"], found["text"], found["remark"] or "") for found in BLOCK.finditer(page)]


def as_shell(block: Block) -> str:
    """The lines of a script that does what the page tells the reader to do with this block."""
    if block.kind == "python":
        saved = block.remark.startswith("save as: ")
        command = f"cat > {block.remark.removeprefix('save as: ')}" if saved else "python -"
        return f"{command} <<'END OF BLOCK'\n{block.text}END OF BLOCK\n"
    if block.remark:  # the code that the last line ends with
        *first, last = block.text.strip().splitlines()
        code = block.remark.removeprefix("exits with: ")
        return "\n".join([*first, "found=0", f"{last} || found=$?", f"test $found -eq {code}"]) + "\n"
    return block.text


def script(tutorial: str) -> str:
    run = [block for block in blocks(tutorial) if block.remark not in HARDWARE]
    return "set -e\n" + "".join(f"echo '--- block {number}'\n{as_shell(block)}" for number, block in enumerate(run, 1))


def copy_of_the_clone(folder: Path) -> Path:
    """What `git clone` and `git status` know of: tracked files and new ones, without what was built."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (REPOSITORY / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    return folder


def fresh_environment(home: Path) -> dict[str, str]:
    """No environment of ours on the path or in variables; pip's cache alone is kept, so that packages come once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pip"
    ours = os.environ.get("VIRTUAL_ENV", "")
    path = [entry for entry in os.environ["PATH"].split(os.pathsep) if not (ours and entry.startswith(ours))]
    kept = {key: os.environ[key] for key in ("LANG", "LC_ALL", "PYENV_ROOT") if key in os.environ}
    pip = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
    ours_alone = {"HOME": str(home), "PATH": os.pathsep.join(path), "PIP_CACHE_DIR": str(cache)}
    return {**kept, **pip, **ours_alone, "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_clone(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return fresh_environment(tmp_path_factory.mktemp("home"))


def run(text: str, clone: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(["bash", "-c", text], cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_every_tutorial_is_listed_here() -> None:
    assert {path.stem for path in TUTORIALS.glob("*.md")} == set(NOT_RUN)


@pytest.mark.parametrize("tutorial", sorted(NOT_RUN))
def test_only_what_needs_hardware_is_left_out(tutorial: str) -> None:
    page = blocks(tutorial)
    assert [block.text.strip() for block in page if block.remark in HARDWARE] == NOT_RUN[tutorial]
    for block in page:
        assert block.kind in ("sh", "python"), block  # others would be skipped in silence
        assert re.fullmatch(r"|not run: needs a (?:Pi|camera)|save as: \w+\.py|exits with: \d+", block.remark), block
    assert (TUTORIALS / f"{tutorial}.md").read_text().count("```") == 2 * len(page)


@pytest.mark.parametrize(
    ("block", "works"),
    [
        (Block("sh", "true\n", ""), True),
        (Block("sh", "false\ntrue\n", ""), False),
        (Block("sh", "false\n", "exits with: 1"), True),
        (Block("sh", "true\n", "exits with: 1"), False),
        (Block("sh", "false\nfalse\n", "exits with: 1"), False),
        (Block("python", "assert 1 + 1 == 2\n", ""), True),
        (Block("python", "assert 1 + 1 == 3\n", ""), False),
        (Block("python", "assert 1 + 1 == 3\n", "save as: app.py"), True),
    ],
)
def test_a_block_that_fails_is_noticed(block: Block, works: bool, tmp_path: Path) -> None:
    done = subprocess.run(["bash", "-c", f"set -e\n{as_shell(block)}"], cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode == 0) == works


@pytest.mark.nightly
@pytest.mark.parametrize("tutorial", sorted(NOT_RUN))
def test_a_tutorial_works_as_written(tutorial: str, clone: Path, environment: dict[str, str]) -> None:
    said = run(script(tutorial), clone, environment)
    assert said.count("--- block") == len(blocks(tutorial)) - len(NOT_RUN[tutorial])


def test_the_notebook_holds_no_outputs() -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@pytest.mark.parametrize("command", ["bench draw", "runs restore", "train", "convert", "bench drift", "kit export"])
def test_the_notebook_runs_what_the_tutorial_runs(command: str) -> None:
    """Word for word: the notebook is the same tutorial."""
    pattern = re.compile(rf"^spot-edge {command} (?:.*\\\n)*.*$", re.MULTILINE)
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    found = pattern.findall("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    page = pattern.findall("\n".join(block.text for block in blocks("train-quantize-ship")))
    assert len(found) == 1
    assert found == page


@pytest.mark.nightly
def test_the_notebook_works_as_written(clone: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """In Jupyter's own way: a kernel that runs the cells in order and stops at the first that fails."""
    for made in ("shapes", "runs", "models-of-shapes"):  # by the tutorial
        shutil.rmtree(clone / made, ignore_errors=True)
    run(
        "set -e\nmake toolkit\n. .venv/bin/activate\n"
        "pip install --quiet --disable-pip-version-check -c constraints/dev.txt nbclient ipykernel\n"
        "jupyter execute docs/tutorials/train-quantize-ship.ipynb --timeout=1200\n",
        clone, environment,
    )  # fmt: skip
    assert (clone / "models-of-shapes" / "any-images-int8.tflite").is_file()
    assert (clone / "runs" / "kit" / "vectors.json").is_file()
