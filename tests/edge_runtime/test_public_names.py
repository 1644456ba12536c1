"""The public names of `spot_edge`, and what `import spot_edge` does not load."""

from __future__ import annotations

import ast
import json
from importlib import metadata
from pathlib import Path

import pytest

import spot_edge
from spot_edge import errors

HEAVY = ("numpy", "PIL", "ai_edge_litert", "tflite_runtime", "tensorflow", "importlib.metadata")
IMPORTED = f"import json, sys; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"


def test_the_lists_of_public_names_agree() -> None:
    """`__all__`, where each name comes from at run time, and what type checkers and editors see."""
    tree = ast.parse(Path(spot_edge.__file__).read_text())
    (typed,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module.removeprefix("spot_edge.")
        for node in typed.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert seen == spot_edge._HOMES
    assert len(spot_edge.__all__) == len(seen) + 1
    assert set(spot_edge.__all__) == {*seen, "__version__"}


def test_every_error_class_is_public() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert classes <= set(spot_edge.__all__)


@pytest.mark.parametrize("name", spot_edge.__all__)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    value = getattr(spot_edge, name)
    assert name in ("RUNTIMES", "__version__") or value.__doc__


def test_any_other_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'spot_edge' has no attribute 'Classifer'"):
        _ = spot_edge.Classifer


def test_a_star_import_has_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from spot_edge import *", names)
    assert set(spot_edge.__all__) <= set(names)


def test_importing_it_imports_nothing_heavy(python) -> None:
    assert json.loads(python("-c", f"import spot_edge; {IMPORTED}").stdout) == []


def test_reading_a_model_file_needs_no_numpy(python) -> None:
    assert json.loads(python("-c", f"import spot_edge; spot_edge.read_model(); {IMPORTED}").stdout) == []


def test_help_and_version_import_no_numpy_pillow_or_interpreter(python) -> None:
    """An installed toolkit is loaded for its lines in --help, and must be as light."""
    for option in ("--help", "--version"):
        script = f"from spot_edge.cli import spot_edge\nspot_edge.main(['{option}'], standalone_mode=False)\n{IMPORTED}"
        result = python("-c", script)
        heavy = json.loads(result.stdout.splitlines()[-1])
        assert set(heavy) <= {"importlib.metadata"}, option


def test_looking_for_cameras_needs_no_numpy_or_pillow(python) -> None:
    script = f"from spot_edge.camera import listing, v4l2; listing.list_cameras(v4l2.Kernel()); {IMPORTED}"
    assert json.loads(python("-c", script).stdout) == []


def test_the_version_is_that_of_the_installed_package() -> None:
    try:
        installed = metadata.version("spot-edge")
    except metadata.PackageNotFoundError:  # run from its folder, on PYTHONPATH
        installed = spot_edge.__version__
    assert installed == spot_edge.__version__
    assert spot_edge.__version__.count(".") == 2
