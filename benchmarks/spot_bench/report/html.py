"""Render HTML pages from Jinja2 templates. All texts are escaped; Jinja2 is imported only when a page is rendered."""

from __future__ import annotations

from pathlib import Path

from spot_edge.errors import one_line

__all__ = ["render"]


def render(template: Path, **values: object) -> str:
    """Return the page of a template file, which may use the other templates beside it and `base.html.j2`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(values)


def _printable(value: object) -> object:
    """Escape control characters in texts; markup (a subclass of str) stays as it is."""
    return one_line(value) if type(value) is str else value
