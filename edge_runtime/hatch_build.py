"""Set the project URLs of both distributions from `spot_edge.REPOSITORY`. While it is empty, they have none."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

CONSTANT = "REPOSITORY"
PAGES = {"Homepage": "", "Source": "", "Issues": "/issues", "Changelog": "/blob/main/CHANGELOG.md"}


class ProjectUrls(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        # Read without an import: building needs neither numpy nor an installed spot_edge.
        repository = read_constant(Path(__file__).parent / "spot_edge" / "__init__.py", CONSTANT)
        if repository:
            metadata["urls"] = {name: f"{repository.rstrip('/')}{page}" for name, page in PAGES.items()}


def read_constant(module: Path, name: str) -> str:
    for statement in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and [ast.unparse(target) for target in statement.targets] == [name]:
            return str(ast.literal_eval(statement.value))
    raise ValueError(f"{module} does not define {name}")
