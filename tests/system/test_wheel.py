"""The device package's wheel, installed alone in a clean environment."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

SIZE_LIMIT = 150_000


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(repository / "edge_runtime")]
    subprocess.run([sys.executable, *build], check=True, capture_output=True)
    return next(out.glob("spot_edge-*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with only the wheel and its dependencies."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([python, *install, "-c", repository / "constraints" / "dev.txt", wheel], check=True)
    return python


@pytest.mark.parametrize(
    ("machine", "version", "interpreter"),
    [
        ("x86_64", "3.11", "ai-edge-litert"),
        ("aarch64", "3.13", "ai-edge-litert"),
        ("arm64", "3.14", "ai-edge-litert"),
        ("armv7l", "3.11", "tflite-runtime"),
        ("armv8l", "3.11", "tflite-runtime"),  # a 64-bit kernel under linux32
        ("armv7l", "3.13", None),
    ],
)
def test_wheel_requires_the_interpreter_for_the_system(
    wheel: Path, machine: str, version: str, interpreter: str | None
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
    lines = [line.partition(": ")[2] for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    system = {"platform_machine": machine, "python_version": version}
    wanted = {r.name for r in map(Requirement, lines) if r.marker is None or r.marker.evaluate(system)}
    assert wanted == {"numpy", "pillow", "click"} | ({interpreter} if interpreter else set())


def run(python: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False)


def test_wheel_without_its_model_is_below_150_kb(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        code = sum(entry.compress_size for entry in archive.infolist() if not entry.filename.endswith(".tflite"))
        models = [entry.filename for entry in archive.infolist() if entry.filename.endswith(".tflite")]
    assert code < SIZE_LIMIT
    assert models == ["spot_edge/models/spot-int8.tflite"]


def test_wheel_alone_classifies_a_drawn_lesion(python: Path, repository: Path, tmp_path: Path) -> None:
    image = repository / "examples" / "drawn-melanoma-001.jpg"
    done = run(python, "-m", "spot_edge.cli", "classify", image, "--json", "--heatmap", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    prediction = json.loads(done.stdout)
    assert len(prediction["ranked"]) == 7
    assert prediction["triage"]["category"] in ("review now", "review soon", "routine")
    assert (tmp_path / "drawn-melanoma-001.heatmap.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_clean_environment_has_no_toolkit_package(python: Path, tmp_path: Path) -> None:
    listed = json.loads(run(python, "-m", "pip", "list", "--format=json", cwd=tmp_path).stdout)
    names = {entry["name"].lower() for entry in listed}
    assert "spot-edge" in names
    assert not names & {"tensorflow", "keras", "scipy", "pandas", "matplotlib", "spot-edge-toolkit", "opencv-python"}


def test_toolkit_command_says_how_to_install_the_toolkit(python: Path, tmp_path: Path) -> None:
    done = run(python, "-m", "spot_edge.cli", "train", "spot", cwd=tmp_path)
    assert done.returncode == 2
    assert "from a clone of spot-edge: pip install ./edge_runtime ." in done.stderr
