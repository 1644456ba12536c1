"""Workflows, issue forms, citation, project URLs and distributions."""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import spot_edge

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
CHECKED = {
    "vendor.github-workflows": WORKFLOWS,
    "vendor.github-issue-forms": FORMS,
    "vendor.github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
    "vendor.citation-file-format": [ROOT / "CITATION.cff"],
}
PACKAGES = {
    "spot_edge": ["edge_runtime/spot_edge"],
    "spot_edge_toolkit": ["benchmarks/spot_bench", "train/spot_train", "convert/spot_convert"],
}


def load(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path)


def check_schema(schema: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def steps(workflow: Path) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for job in load(workflow)["jobs"].values():
        for step in job.get("steps", []):
            yield job, step


@pytest.mark.parametrize("schema", CHECKED)
def test_files_follow_their_schemas(schema: str) -> None:
    assert CHECKED[schema]
    done = check_schema(schema, *CHECKED[schema])
    assert done.returncode == 0, done.stdout + done.stderr


def test_broken_workflow_violates_its_schema(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:"))
    assert check_schema("vendor.github-workflows", broken).returncode == 1


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_pins_actions_and_limits_permissions_and_time(workflow: Path) -> None:
    content = load(workflow)
    assert content["permissions"] == {"contents": "read"}
    used = [step["uses"] for _, step in steps(workflow) if "uses" in step]
    called = [job["uses"] for job in content["jobs"].values() if "uses" in job]
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+@v\d+\.\d+\.\d+", name) for name in used), used
    assert all((ROOT / name).is_file() for name in called), called
    assert all("timeout-minutes" in job for job in content["jobs"].values() if "uses" not in job)


def make_commands() -> Iterator[str]:
    """Each `make` command of the workflows, with the values of its job's matrix filled in."""
    for workflow in WORKFLOWS:
        for job, step in steps(workflow):
            matrix = job.get("strategy", {}).get("matrix", {})
            for values in itertools.product(*matrix.values()):
                line = step.get("run", "")
                for name, value in zip(matrix, values, strict=True):
                    line = line.replace(f"${{{{ matrix.{name} }}}}", str(value))
                yield from re.findall(r"^make .*?(?= 2>|$)", line, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(set(make_commands())))
def test_make_target_of_a_workflow_exists(command: str) -> None:
    done = subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    scripts = re.findall(r"(?<![\w./-])((?:[\w-]+/)+[\w-]+\.(?:py|sh))\b", done.stdout)
    assert {name for name in scripts if not (ROOT / name).is_file()} == set()


def test_makefile_rejects_an_unknown_check() -> None:
    command = ["make", "--dry-run", "check", "TARGET=nonsense"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 2


def test_nightly_workflow_runs_every_check_that_needs_no_data() -> None:
    (listed,) = re.findall(r"^CHECKS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    jobs = load(GITHUB / "workflows" / "nightly.yml")["jobs"]
    nightly = [name for job in jobs.values() for name in job.get("strategy", {}).get("matrix", {}).get("target", [])]
    assert sorted(nightly) == sorted(set(listed.split()) - {"quality"})  # quality needs HAM10000


def test_workflows_name_files_that_exist() -> None:
    options = [step.get("with", {}) for workflow in WORKFLOWS for _, step in steps(workflow)]
    locked = {each["cache-dependency-path"] for each in options if "cache-dependency-path" in each}
    assert locked
    assert {name for name in locked if not (ROOT / name).is_file()} == set()
    (published,) = [
        step["with"]["path"] for _, step in steps(GITHUB / "workflows" / "docs.yml") if "path" in step.get("with", {})
    ]
    assert published == re.search(r"^site_dir: (\S+)", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)[1]  # type: ignore[index]


def test_device_package_is_tested_on_every_python_it_supports() -> None:
    jobs = load(GITHUB / "workflows" / "test.yml")["jobs"]
    (toolkit,) = [
        step["with"]["python-version"] for step in jobs["toolkit"]["steps"] if "python-version" in step.get("with", {})
    ]
    tested = {toolkit, *jobs["device"]["strategy"]["matrix"]["python"]}
    project = tomllib.loads((ROOT / "edge_runtime" / "pyproject.toml").read_text())["project"]
    named = {line.rpartition(" ")[2] for line in project["classifiers"] if re.search(r"Python :: 3\.\d+$", line)}
    assert tested == named


def test_pre_commit_hooks_are_tools_of_this_environment() -> None:
    config = ROOT / ".pre-commit-config.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    entries = [Path(hook["entry"].split()[0]) for repo in load(config)["repos"] for hook in repo["hooks"]]
    assert {path.parent for path in entries} == {Path(".venv/bin")}
    assert {path.name for path in entries if not (Path(sys.prefix) / "bin" / path.name).exists()} == set()


def test_citation_has_this_version_and_repository() -> None:
    citation = load(ROOT / "CITATION.cff")
    assert citation["version"] == spot_edge.__version__
    assert citation.get("repository-code", "") == spot_edge.REPOSITORY
    assert [author["name"] for author in citation["authors"]] == ["the spot-edge contributors"]


def urls(source: Path, out: Path) -> dict[str, list[str]]:
    """The project URLs of both wheels, built from a copy of the sources."""
    found = {}
    for distribution, project in (("spot_edge", source / "edge_runtime"), ("spot_edge_toolkit", source)):
        build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(project)]
        subprocess.run([sys.executable, *build], check=True, capture_output=True)
        with zipfile.ZipFile(next(out.glob(f"{distribution}-*.whl"))) as wheel:
            metadata = wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA"))).decode()
        found[distribution] = re.findall(r"^Project-URL: (.*)$", metadata, re.MULTILINE)
    return found


def test_one_constant_sets_the_urls_of_both_distributions(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE", "edge_runtime", *PACKAGES["spot_edge_toolkit"]):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, target)
    module = source / "edge_runtime" / "spot_edge" / "__init__.py"
    text = module.read_text()
    found: dict[str, dict[str, list[str]]] = {}
    for address in ("", "https://example.org/spot/edge"):
        module.write_text(re.sub(r'^REPOSITORY = ".*"$', f'REPOSITORY = "{address}"', text, flags=re.MULTILINE))
        found[address] = urls(source, tmp_path / f"wheels{len(found)}")
    assert found.pop("") == {"spot_edge": [], "spot_edge_toolkit": []}
    ((address, lines),) = found.items()
    assert lines["spot_edge"] == lines["spot_edge_toolkit"]
    assert dict(line.split(", ") for line in lines["spot_edge"]) == {
        "Homepage": address,
        "Source": address,
        "Issues": f"{address}/issues",
        "Changelog": f"{address}/blob/main/CHANGELOG.md",
    }


def test_repository_address_is_written_once() -> None:
    assert spot_edge.REPOSITORY == "" or re.fullmatch(r"https://[\w.-]+/[\w.-]+/[\w.-]+", spot_edge.REPOSITORY)
    for path in (ROOT / "pyproject.toml", ROOT / "edge_runtime" / "pyproject.toml"):
        project = tomllib.loads(path.read_text())["project"]
        assert "urls" not in project
        assert set(project["dynamic"]) == {"version", "urls"}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, str(ROOT / "release" / "dist.py"), "--out", str(out)]
    # This umask and time zone must not change the distributions.
    done = subprocess.run(command, capture_output=True, text=True, umask=0o077, env={"TZ": "Asia/Tokyo"}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def committed(*folders: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "HEAD", *folders], cwd=ROOT, check=True, capture_output=True
    )
    return set(listed.stdout.decode().splitlines())


def test_both_distributions_have_one_version(dist: Path) -> None:
    version = spot_edge.__version__
    wheels = {f"{name}-{version}-py3-none-any.whl" for name in PACKAGES}
    assert {path.name for path in dist.iterdir()} == wheels | {f"{name}-{version}.tar.gz" for name in PACKAGES}


@pytest.mark.parametrize("distribution", PACKAGES)
def test_wheel_contains_only_its_packages_and_licenses(dist: Path, distribution: str) -> None:
    with zipfile.ZipFile(next(dist.glob(f"{distribution}-*.whl"))) as wheel:
        entries = wheel.infolist()
    information = f"{distribution}-{spot_edge.__version__}.dist-info/"
    names = {entry.filename for entry in entries}
    packages = PACKAGES[distribution]
    assert {name for name in names if not name.startswith(information)} == {
        name.partition("/")[2] for name in committed(*packages)
    }
    assert f"{information}licenses/LICENSE" in names
    assert (f"{information}licenses/spot_edge/models/LICENSE" in names) == (distribution == "spot_edge")
    assert {entry.external_attr >> 16 & 0o777 for entry in entries} <= {0o644, 0o664, 0o755}
    when = subprocess.run(
        ["git", "log", "-1", "--format=%cd", "--date=format-local:%Y %m %d"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        env={"TZ": "UTC"},
    )
    assert {entry.date_time[:3] for entry in entries} == {tuple(map(int, when.stdout.split()))}


@pytest.mark.parametrize("distribution", PACKAGES)
def test_source_distribution_contains_what_its_wheel_needs(dist: Path, distribution: str) -> None:
    root = f"{distribution}-{spot_edge.__version__}/"
    with tarfile.open(next(dist.glob(f"{distribution}-*.tar.gz"))) as archive:
        members = archive.getmembers()
    names = {member.name.removeprefix(root) for member in members if member.isfile()}
    above = "edge_runtime/" if distribution == "spot_edge" else ""
    own = {name.removeprefix(above) for name in committed(*PACKAGES[distribution])}
    hook = {"hatch_build.py"} if above else {"edge_runtime/hatch_build.py", "edge_runtime/spot_edge/__init__.py"}
    assert names == own | hook | {".gitignore", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    assert {(member.uid, member.gid, member.uname) for member in members} == {(0, 0, "")}
    assert {Path(name).suffix for name in names} & {".jpg", ".jpeg", ".png", ".dcm", ".npz"} == set()
