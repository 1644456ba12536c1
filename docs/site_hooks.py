"""What MkDocs adds to docs/*.md: the command line from click, the API pages of the workstation packages, and the
documents at the repository's root.

Links that leave docs/ work on the site, too: those to a document at the root lead to its page, those to another file
that exists become the file's name. A link to a file that does not exist is a warning, and so fails the strict build.
"""

from __future__ import annotations

import ast
import html
import inspect
import logging
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "spot_bench": ("benchmarks", "Measures models: data sets, statistics, drift, robustness and speed."),
    "spot_train": ("train", "Trains a network by a recipe and leaves a run directory."),
    "spot_convert": ("convert", "Turns a run directory into model files, and inspects model files."),
}
PROJECT = {
    "README.md": "index.md",
    "MODEL_CARD.md": "project/model-card.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
}
COMMANDS = "<!-- commands -->"  # stands in reference/command-line.md where the commands come
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
_FENCED = re.compile(r"(^ *```.*?^ *```$)", re.M | re.S)
_log = logging.getLogger("mkdocs.hooks.spot_edge")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let --strict count the warnings of a --quiet build: MkDocs would hide them from it, too."""
    logger = logging.getLogger("mkdocs")
    logger.setLevel(min(logger.level, logging.WARNING))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file under docs/ holds."""
    from mkdocs.structure.files import File

    for package in PACKAGES:
        uri = f"reference/python-api-{package}.md"
        files.append(File.generated(config, uri, content=api_page(package)))
    for source, uri in PROJECT.items():
        if source != "README.md":
            text = (ROOT / source).read_text(encoding="utf-8")
            files.append(File.generated(config, uri, content=localize(text, source, uri)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page under docs/ that lead out of docs/."""
    uri = page.file.src_uri
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, "\n".join(all_command_lines()))
    return markdown if page.file.generated_by else localize(markdown, f"docs/{uri}", uri)


def all_command_lines() -> Iterator[str]:
    """Every command of this source tree, which need not be installed."""
    import click

    sys.path[:0] = [str(ROOT / folder) for folder in ("edge_runtime", "benchmarks", "train", "convert")]
    device = import_module("spot_edge.cli").spot_edge
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    toolkit = project["entry-points"]["spot_edge.commands"]
    context = click.Context(device, info_name="spot-edge")
    found = {name: device.get_command(context, name) for name in device.list_commands(context) if name not in toolkit}
    for name, place in sorted(toolkit.items()):
        module, _, attribute = place.partition(":")
        found[name] = getattr(import_module(module), attribute)
    yield from command_lines(
        click.Group(
            "spot-edge", found, params=device.params, help=device.help, context_settings=device.context_settings
        ),
        "spot-edge",
    )


def command_lines(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[str]:
    """What `--help` says of a command and of all below it, as Markdown."""
    import click

    context = command.context_class(
        command, info_name=name.rpartition(" ")[2], parent=parent, **command.context_settings
    )
    yield from (f"{'##' if parent is None or parent.parent is None else '###'} {name}", "")
    yield from _paragraphs(command.help or "")
    yield from ("```text", f"{name} {' '.join(command.collect_usage_pieces(context))}", "```", "")
    options = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    records = [record for option in options if (record := option.get_help_record(context))]
    if records:
        yield from ("| option | meaning |", "|---|---|")
        yield from (f"| {_option(option)} | {_text(about)} |" for option, about in records)
        yield ""
    if parent is not None:
        yield from _paragraphs(command.epilog or "")
    if isinstance(command, click.Group):
        for below in list(command.commands) or command.list_commands(context):  # a lazy group has no `commands`
            child = command.get_command(context, below)
            if child is not None and not child.hidden:
                yield from command_lines(child, f"{name} {below}", context)


def _paragraphs(text: str) -> Iterator[str]:
    """Click's help text as Markdown: what follows a `\\b` keeps its lines."""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text).split("\f")[0]):
        if paragraph.startswith("\b"):
            yield from ("```text", *paragraph.split("\n")[1:], "```", "")
        elif paragraph:
            yield from (_text(paragraph), "")


def _option(text: str) -> str:
    """An option's names, which must not wrap, and what it takes, which may."""
    names = re.match(r"-[^ ]*(?:(?:, | / )-[^ ]*)*", text)
    end = names.end() if names else 0
    return " ".join(f"`{part.strip()}`" for part in (text[:end], text[end:]) if part.strip())


def _line(text: str) -> str:
    return " ".join(text.split())


def _text(about: str) -> str:
    """A cell of a table that shows `about` as it is."""
    return html.escape(_line(about), quote=False).replace("|", "&#124;").replace("*", "&#42;").replace("_", "&#95;")


def api_page(package: str) -> str:
    """One section for each module of `package` that exports a name."""
    folder, about = PACKAGES[package]
    lines = ["---", "search: {boost: 0.2}", "---", f"# `{package}`", "", about, ""]
    for module, constants in public_modules(ROOT / folder / package):
        lines += [f"## `{module}` {{ #module-{module} }}", "", f"::: {module}", "    options:"]
        lines += ["      show_root_heading: false", "      show_root_toc_entry: false", ""]
        lines += [line for name in constants for line in (f"### {name} {{ #{module}.{name} }}", "")]
    return "\n".join(lines)


def public_modules(package: Path) -> Iterator[tuple[str, list[str]]]:
    """The modules below `package` that define `__all__`, and what mkdocstrings does not see: constants that are
    assigned several at once."""
    for path in sorted(package.rglob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assigned = [(target, node.value) for node in body if isinstance(node, ast.Assign) for target in node.targets]
        public = {
            each.value
            for target, value in assigned
            if isinstance(target, ast.Name) and target.id == "__all__"
            for each in ast.walk(value)
            if isinstance(each, ast.Constant)
        }
        if public:
            parts = path.relative_to(package.parent).with_suffix("").parts
            together = [each for target, _ in assigned if isinstance(target, ast.Tuple) for each in target.elts]
            names = [each.id for each in together if isinstance(each, ast.Name) and each.id in public]
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), names


def localize(markdown: str, source: str, uri: str) -> str:
    """`markdown` of the repository's file `source` with links that hold on the site, where it is the page `uri`."""

    def link(match: re.Match[str]) -> str:
        image, text, target = match.groups()
        path, hash_, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:|/", path):
            return match[0]
        wanted = os.path.normpath(PurePosixPath(source).parent / path)
        if source.startswith("docs/") and wanted.startswith("docs/"):
            return match[0]  # MkDocs checks it
        if not (ROOT / wanted).exists():
            _log.warning("%s links to %s, which does not exist", source, target)
            return match[0]
        page = PROJECT.get(wanted) or (wanted.removeprefix("docs/") if wanted.startswith("docs/") else None)
        if page is None:
            return text if image or "`" in text else f"{text} (`{wanted}`)"
        return f"{image}[{text}]({os.path.relpath(page, PurePosixPath(uri).parent)}{hash_}{anchor})"

    parts = _FENCED.split(markdown)  # every second one is a fenced block
    return "".join(part if number % 2 else _LINK.sub(link, part) for number, part in enumerate(parts))
