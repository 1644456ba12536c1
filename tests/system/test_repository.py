"""Facts about the repository that must stay true."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from spot_edge import read_model
from spot_edge.cli import ENTRY_POINTS, TOOLKIT
from spot_edge.errors import EXIT_CODES
from spot_edge.model.spec import Geometry
from spot_edge.prediction.prediction import NEAR_TIE

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PACKAGES = "tests|experiments|train|convert|benchmarks|edge_runtime|models|examples|docs|constraints|release"
NAMED = rf"(?<![\w/.])((?:{PACKAGES})/[\w./-]*\w)"
FROZEN_SPLIT = "deabae93bf2aeee1d4346fb8be33737e046998d8f2a78bbd2445ef53f2caa454"


def test_frozen_split_is_unchanged(repository: Path) -> None:
    split = repository / "models" / "spot" / "split.csv"
    assert hashlib.sha256(split.read_bytes()).hexdigest() == FROZEN_SPLIT


def test_device_lists_the_commands_of_the_toolkit(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert set(project["entry-points"][ENTRY_POINTS]) == set(TOOLKIT)


def test_embedded_model_was_trained_on_the_frozen_split_with_the_kept_recipe(repository: Path) -> None:
    training = read_model().spec.training
    run = json.loads((repository / "models" / "spot" / "run.json").read_text())
    assert training["split_sha256"] == run["split_sha256"] == FROZEN_SPLIT
    assert training["recipe_sha256"] == run["recipe_sha256"]


def test_embedded_model_has_license_notice_and_operating_points(repository: Path) -> None:
    spec = read_model().spec
    assert "CC BY-NC" in spec.licence
    assert "not a diagnosis" in spec.notice
    assert [point.name for point in spec.operating_points] == ["sensitivity-90", "sensitivity-95"]


def test_model_and_weights_stay_small(repository: Path) -> None:
    assert (repository / "edge_runtime" / "spot_edge" / "models" / "spot-int8.tflite").stat().st_size <= 3_000_000
    assert (repository / "models" / "spot" / "weights-f16.npz").stat().st_size <= 5_000_000


def test_model_card_has_the_figures_of_the_report(repository: Path) -> None:
    card = (repository / "MODEL_CARD.md").read_text()
    report = json.loads((repository / "models" / "spot" / "test-report.json").read_text())
    assert read_model().id == report["comparisons"][0]["other"]["model"]["id"]
    for side in ("baseline", "other"):
        for name in ("balanced_accuracy", "accuracy", "macro_auc", "ece", "brier"):
            figure = report["comparisons"][0][side][name]
            shown = f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
            assert shown in card, f"{side} {name}: {shown}"


def test_example_page_has_the_near_tie_limit_of_the_device(repository: Path) -> None:
    module = (repository / "examples" / "web" / "spot.js").read_text()
    assert f"const NEAR_TIE = {NEAR_TIE};" in module


def test_example_page_knows_the_geometries_of_the_device(repository: Path) -> None:
    module = (repository / "examples" / "web" / "spot.js").read_text()
    assert f"const GEOMETRIES = {json.dumps(list(get_args(Geometry)))};" in module


def test_reference_documents_every_exit_code(repository: Path) -> None:
    page = (repository / "docs" / "reference" / "exit-codes.md").read_text()
    for code, meaning in EXIT_CODES.items():
        assert re.search(rf"\|\s*{code}\s*\|\s*{re.escape(meaning)}\s*\|", page), code


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_paths_in_the_document_exist(repository: Path, document: str) -> None:
    path = repository / document
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text())
    inside = [link for link in links if not link.startswith(("http:", "https:", "mailto:"))]
    generated = r"python-api-spot_\w+\.md"  # docs/site_hooks.py writes these when the site is built
    missing = [link for link in inside if not (path.parent / link).exists() and not re.fullmatch(generated, link)]
    assert not missing
    assert path.read_text().startswith("# ")
    named = {name for name in re.findall(NAMED, path.read_text()) if "NAME" not in name}
    assert {name for name in named if not (repository / name).exists()} == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_document_has_no_placeholder(repository: Path, document: str) -> None:
    assert re.findall(r"^[A-Z]+_[A-Z]+$|\b[A-Z]+_KB\b", (repository / document).read_text(), re.MULTILINE) == []
