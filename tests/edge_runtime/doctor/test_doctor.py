"""`spot-edge doctor` as a user runs it: its report, its JSON, its exit codes, and broken packages."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spot_edge import RUNTIMES, __version__, read_model
from spot_edge.model.interpreter import installed_runtimes

posix = pytest.mark.skipif(os.name != "posix", reason="signals and symbolic links of POSIX")
KEYS = "spot-edge python machine processor memory system packages interpreter model id measured self-test cameras"


@pytest.fixture
def broken(spot_edge, tmp_path: Path) -> Callable[..., Any]:
    """broken(package, code, *arguments): run the doctor where importing `package` runs `code`."""

    def run(package: str, code: str, *arguments: object) -> Any:
        (tmp_path / "broken" / package).mkdir(parents=True)
        (tmp_path / "broken" / package / "__init__.py").write_text(code)
        path = os.pathsep.join(filter(None, [str(tmp_path / "broken"), os.environ.get("PYTHONPATH")]))
        return spot_edge("doctor", *arguments, env={"PYTHONPATH": path})

    return run


@pytest.fixture
def only(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """only(*packages): run the doctor with nothing installed but Python's own modules and `packages`."""

    def run(*packages: str) -> subprocess.CompletedProcess[str]:
        for name in packages:
            spec = importlib.util.find_spec(name)
            assert spec is not None
            assert spec.origin is not None
            home = Path(spec.origin).parent
            for found in (home, home.with_name("numpy.libs"), home.with_name("pillow.libs")):
                if found.is_dir() and not (tmp_path / found.name).exists():
                    (tmp_path / found.name).symlink_to(found)
        script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom spot_edge.cli import main; main(['doctor'])"
        command = [sys.executable, "-I", "-S", "-B", "-c", script]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    return run


def problems(report: str) -> str:
    """The problems in the report, with their lines joined again."""
    return " ".join(report.partition("\nproblems:")[2].split())


def test_the_report(spot_edge) -> None:
    result = spot_edge("doctor")
    assert (result.returncode, result.stderr) == (0, b"")
    text = result.stdout.decode()
    first = [line.split()[0] for line in text.partition("\n\n")[0].splitlines() if not line.startswith(" ")]
    assert first == [*KEYS.split(), "temperature", "clock", "throttling", "free"]
    assert max(map(len, text.splitlines())) <= 80
    assert f"spot-edge   {__version__}\n" in text
    assert f"id          {read_model().id}\n" in text
    assert f"{installed_runtimes()[0]} " in text
    assert "(used)" in text
    assert "self-test   passed: " in text
    assert text.count("problems: classifying works") + text.count("problems: none") == 1
    assert text.endswith("\n")


def test_json(spot_edge) -> None:
    result = spot_edge("doctor", "--json")
    assert result.returncode == 0
    found = json.loads(result.stdout)
    assert (found["schema"], found["spot_edge"], found["python"]) == (1, __version__, sys.version.split()[0])
    assert list(found["interpreters"]) == installed_runtimes()
    assert found["interpreter"] == installed_runtimes()[0]
    assert found["model"]["id"] == read_model().id
    assert found["self_test"]["passed"] is True
    assert found["self_test"]["away"] < 0.2
    assert min(found["self_test"]["median_ms"], found["self_test"]["first_ms"]) > 0
    assert found["machine"]["bits"] in (32, 64)
    assert all(problem["exit_code"] == 0 for problem in found["problems"])


def test_with_litert_the_scores_are_the_expected_ones(spot_edge) -> None:
    if installed_runtimes()[0] != "ai-edge-litert":
        pytest.skip("NOT RUN: LiteRT is not the interpreter here, and others round differently")
    assert json.loads(spot_edge("doctor", "--json").stdout)["self_test"]["away"] < 1e-6


def test_another_model_file(spot_edge, tmp_path: Path) -> None:
    path = tmp_path / "mine.tflite"
    path.write_bytes(read_model().content)
    found = json.loads(spot_edge("doctor", path, "--json").stdout)
    assert found["model"]["file"].endswith("mine.tflite")
    assert found["self_test"]["passed"] is True


def test_a_damaged_model_exits_with_4_and_the_rest_is_reported(spot_edge, tmp_path: Path) -> None:
    content = bytearray(read_model().content)
    content[1000] ^= 1
    (tmp_path / "mine.tflite").write_bytes(content)
    result = spot_edge("doctor", "mine.tflite", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (4, b"")
    text = result.stdout.decode()
    assert "model       rejected\n" in text
    assert "self-test   failed at 'read the model'\n" in text
    assert problems(text).startswith("- mine.tflite: damaged: its bytes do not match its digest. Copy or install")
    assert problems(text).count("damaged") == 1
    assert "(used)" in text


@posix
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_an_illegal_instruction_in_the_interpreter_is_named(form: list[str], broken) -> None:
    result = broken("ai_edge_litert", "import os; os.kill(os.getpid(), 4)", *form)
    assert (result.returncode, result.stderr) == (5, b"")
    text = result.stdout.decode()
    if form:
        found = json.loads(text)
        assert (found["self_test"]["passed"], found["self_test"]["ended_at"]) == (False, "import ai-edge-litert")
        assert found["problems"][0]["exit_code"] == 5
        return
    assert "self-test   failed at 'import ai-edge-litert'\n" in text
    assert (
        "- self-test: crashed with signal 4 (illegal instruction) at 'import ai-edge-litert': this build of"
        in problems(text)
    )


@pytest.mark.parametrize(
    ("package", "code", "exit_code", "message"),
    [
        ("ai_edge_litert", "raise ImportError('libx.so.1: wrong')", 5, "ImportError: libx.so.1: wrong at 'import ai-"),
        ("ai_edge_litert", "", 5, "No module named 'ai_edge_litert.interpreter' at 'import ai-edge-litert'"),
        ("ai_edge_litert", "import os; os._exit(3)", 5, "exited with code 3 at 'import ai-edge-litert'"),
        ("numpy", "try:\n    import libblas\nexcept ImportError as e:\n    raise ImportError('read\\nthis') from e", 8,
         "ModuleNotFoundError: No module named 'libblas' at 'import numpy': reinstall numpy"),
        ("PIL", "raise OSError('libjpeg.so.62')", 8, "OSError: libjpeg.so.62 at 'import pillow': reinstall pillow"),
    ],
)  # fmt: skip
def test_a_broken_package_leaves_the_rest_of_the_report(
    package: str, code: str, exit_code: int, message: str, broken
) -> None:
    result = broken(package, code)
    assert (result.returncode, result.stderr) == (exit_code, b"")
    assert message in problems(result.stdout.decode())
    assert read_model().id in result.stdout.decode()


@posix
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.kill(os.getpid(), 11)", "pi: picamera2 crashed with signal 11 (segmentation fault)"),
        ("raise ValueError('numpy.dtype size changed')", "pi: picamera2 cannot be imported: numpy.dtype size changed"),
    ],
)
def test_an_incompatible_picamera2_is_a_note(code: str, message: str, broken) -> None:
    result = broken("picamera2", code)
    assert result.returncode == 0
    assert message in problems(result.stdout.decode())
    assert "pi: cannot be opened" in result.stdout.decode()


def test_the_pi_camera(broken) -> None:
    infos = "[{'Id': '/base/soc/i2c@1/imx708@1a', 'Model': 'imx708'}, {'Id': 'usb-1', 'Model': 'webcam'}]"
    code = f"class Picamera2:\n    @staticmethod\n    def global_camera_info():\n        return {infos}"
    found = json.loads(broken("picamera2", code, "--json").stdout)
    assert {"path": "pi", "name": "imx708", "formats": [], "problem": None} in found["cameras"]
    assert "webcam" not in [camera["name"] for camera in found["cameras"]]


@posix
def test_without_an_interpreter_it_exits_with_5(only) -> None:
    result = only("spot_edge", "click", "numpy", "PIL")
    assert (result.returncode, result.stderr) == (5, "")
    assert "interpreter none\n" in result.stdout
    assert "packages    numpy unknown, Pillow unknown, click unknown\n" in result.stdout
    assert problems(result.stdout).count("no TFLite interpreter") == 1


@posix
def test_it_works_without_numpy_and_pillow(only) -> None:
    result = only("spot_edge", "click")
    assert (result.returncode, result.stderr) == (5, "")
    assert "No module named 'numpy' at 'import numpy': reinstall numpy" in problems(result.stdout)
    assert read_model().id in result.stdout


def test_no_user_name_is_reported(spot_edge, tmp_path: Path) -> None:
    home = tmp_path / "home" / "anna"
    home.mkdir(parents=True)
    for form in ([], ["--json"]):
        result = spot_edge("doctor", home / "mine.tflite", *form, env={"HOME": str(home), "USERPROFILE": str(home)})
        assert result.returncode == 4
        assert b"mine.tflite: model file cannot be read" in result.stdout
        assert b"anna" not in result.stdout


def test_the_current_folder_is_not_searched_for_modules(spot_edge, tmp_path: Path) -> None:
    """Like the installed command: the current folder may hold any file."""
    (tmp_path / "json.py").write_text("raise SystemExit('taken')")
    (tmp_path / "numpy.py").write_text("raise SystemExit('taken')")
    script = "import sys; sys.path[:] = [p for p in sys.path if p]; from spot_edge.cli import main; main(['doctor'])"
    path = os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))
    result = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert b"self-test   passed" in result.stdout


def test_it_works_in_a_removed_folder(tmp_path: Path) -> None:
    if os.name != "posix":
        pytest.skip("NOT RUN: this system does not remove a folder in use")
    (tmp_path / "gone").mkdir()
    script = "import os; os.rmdir(os.getcwd()); from spot_edge.cli import main; main(['doctor'])"
    path = os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path / "gone",
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert b"self-test   passed" in result.stdout


@posix
def test_ctrl_c_exits_with_130(tmp_path: Path) -> None:
    (tmp_path / "ai_edge_litert").mkdir()
    (tmp_path / "ai_edge_litert" / "__init__.py").write_text("open('begun', 'w').close()\nimport time; time.sleep(99)")
    path = os.pathsep.join([str(tmp_path), *map(os.path.abspath, filter(None, sys.path))])
    command = [sys.executable, "-m", "spot_edge.cli", "doctor"]
    options: dict[str, Any] = {"env": os.environ | {"PYTHONPATH": path}, "cwd": tmp_path, "start_new_session": True}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as running:
        while not (tmp_path / "begun").exists():
            assert running.poll() is None
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: the child gets it too
        stdout, stderr = running.communicate(timeout=60)
    assert (running.returncode, stdout, stderr.split()) == (130, b"", [b"interrupted"])


def test_examining_imports_no_package_that_may_be_broken(python) -> None:
    native = {"numpy", "PIL", *(module.partition(".")[0] for module, _ in RUNTIMES.values())}
    script = (
        "import sys\nfrom spot_edge.doctor.examine import examine\nfrom spot_edge.doctor.summary import report_lines\n"
        f"assert report_lines(examine(), [])\nassert not {native!r} & set(sys.modules)"
    )
    result = python("-c", script)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("arguments", [["doctor", "a", "b"], ["doctor", "--yaml"]])
def test_a_wrong_command_line_exits_with_2(arguments: list[str], spot_edge) -> None:
    assert spot_edge(*arguments).returncode == 2
