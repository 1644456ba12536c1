"""Check the built documentation site in a real Chromium: no request to another host, search, the API reference.

`make docs` builds the site into build/docs. The environment variables SITE and MKDOCS name another folder and command.
Needs chromium and chromedriver. Writes screenshots of the pages to build/docs-screenshots.
"""

from __future__ import annotations

import ast
import base64
import html
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import pytest

import spot_edge
from spot_edge.cli import spot_edge as spot_edge_command

REPOSITORY = Path(__file__).parents[2]
SITE = Path(os.environ.get("SITE", REPOSITORY / "build" / "docs"))
MKDOCS = os.environ.get("MKDOCS", str(REPOSITORY / ".venv-docs" / "bin" / "mkdocs"))
SITE_HOOKS = REPOSITORY / "docs" / "site_hooks.py"
SCREENSHOTS = REPOSITORY / "build" / "docs-screenshots"
PATIENCE = 60  # seconds
PAGES = [
    "index.html",
    "glossary.html",
    "reference/command-line.html",
    "reference/python-api.html",
    "reference/python-api-spot_bench.html",
    "reference/recipes.html",
    "reference/exit-codes.html",
    "reports/variants.html",
    "project/model-card.html",
]
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=OptimizationHints,MediaRouter,AutofillServerCommunication",
    "--gaia-url=http://127.0.0.1:9",  # Chromium sends a request of its own there when it starts
    "--window-size=1280,1000",
]
# Debian's Chromium would otherwise open a search engine's page at start.
PREFERENCES = {"session.restore_on_startup": 4, "session.startup_urls": ["about:blank"], "homepage": "about:blank"}
# Chromium looks for component updates in spite of the option.
OWN = re.compile(r"(http://)?(update\.googleapis|clients2\.google)\.com[:/]")  # updates, and the time
FOREIGN = "http://elsewhere.invalid/picture.png"


class Recorder(BaseHTTPRequestHandler):
    """A proxy that records each request and answers with an error."""

    requested: list[str]

    def _note(self) -> None:
        self.requested.append(self.path)
        self.send_error(502)

    do_GET = do_POST = do_HEAD = do_CONNECT = do_OPTIONS = _note  # noqa: N815 - http.server needs these names

    def log_message(self, *arguments: object) -> None:
        pass


class Quiet(SimpleHTTPRequestHandler):
    """Serve the site without logging, and one more page that loads an image from another host."""

    def do_GET(self) -> None:
        if self.path != "/control.html":
            super().do_GET()
            return
        page = f'<!doctype html><title>control</title><img src="{FOREIGN}">'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


class Browser:
    """A Chromium that sends every request to another host through the recording proxy."""

    def __init__(self, driver: str, folder: Path, proxy: int, requested: list[str]) -> None:
        self.requested = requested
        arguments = [*OPTIONS, f"--user-data-dir={folder}", f"--proxy-server=127.0.0.1:{proxy}"]
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments, "binary": shutil.which("chromium"), "prefs": PREFERENCES},
            "goog:loggingPrefs": {"performance": "ALL"},
        }
        self._base = driver
        started = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._base += f"/session/{started['sessionId']}"

    def _call(self, method: str, path: str, data: dict[str, Any] | None = None) -> Any:
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self._base + path, body, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)["value"]

    def open(self, address: str) -> None:
        self._call("POST", "/url", {"url": address})

    def run(self, script: str) -> Any:
        return self._call("POST", "/execute/sync", {"script": script, "args": []})

    def wait(self, script: str) -> Any:
        """Run `script` until its result is true, and return that."""
        end = time.monotonic() + PATIENCE
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"still false after {PATIENCE} s: {script}"
            time.sleep(0.1)
        return value

    def requests(self) -> list[str]:
        """The addresses that pages requested since the last call, from the browser's log."""
        entries = self._call("POST", "/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "blob:", "chrome:", "about:"))]

    def screenshot(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def close(self) -> None:
        self._call("DELETE", "")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert shutil.which("chromium"), "install chromium"
    assert shutil.which("chromedriver"), "install chromedriver (Debian: chromium-driver)"
    requested: list[str] = []
    recorder = type("Recording", (Recorder,), {"requested": requested})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        serving(recorder) as proxy,
        subprocess.Popen(["chromedriver", f"--port={port}"], stdout=-3, stderr=-3) as driver,
    ):
        try:
            _until_open(port)
            opened = Browser(f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("profile"), proxy, requested)
            yield opened
            opened.close()
        finally:
            driver.terminate()


def _until_open(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < end, "chromedriver does not start"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    assert (SITE / "index.html").is_file(), f"{SITE} contains no site: run `make docs` first"
    with serving(partial(Quiet, directory=str(SITE))) as port:
        yield f"http://127.0.0.1:{port}"


def _foreign_requests(browser: Browser, site: str) -> list[str]:
    """Requests to other hosts, from the browser's log and the proxy's. The browser does not log those of workers."""
    by_proxy = [url for url in browser.requested if not OWN.match(url)]
    return [url for url in browser.requests() if not url.startswith(site)] + by_proxy


def test_requests_to_another_host_are_detected(browser: Browser, site: str) -> None:
    browser.open(f"{site}/control.html")
    browser.wait("return document.images[0].complete")
    assert FOREIGN in browser.requested
    assert FOREIGN in browser.requests()
    browser.requested.clear()


@pytest.mark.parametrize("page", PAGES)
def test_page_requests_nothing_from_another_host(browser: Browser, site: str, page: str) -> None:
    browser.open(f"{site}/{page}")
    browser.wait("return document.readyState == 'complete' && document.querySelector('article h1')")
    fonts = "return getComputedStyle(document.querySelector('article p')).fontFamily"
    assert "Roboto" not in browser.run(fonts)
    browser.screenshot(SCREENSHOTS / f"{page.removesuffix('.html').replace('/', '-')}.png")
    assert _foreign_requests(browser, site) == []


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("exit codes", "reference/exit-codes.html"),
        ("near tie", "glossary.html"),
        ("read_model", "reference/python-api"),
    ],
)
def test_search_finds_the_page(browser: Browser, site: str, words: str, page: str) -> None:
    browser.open(f"{site}/index.html?q={words.replace(' ', '+')}")
    found = """return [...document.querySelectorAll('.md-search-result__link')].map(e => e.href).join(' ')"""
    assert page in browser.wait(found)
    browser.screenshot(SCREENSHOTS / f"search-{words.replace(' ', '-')}.png")
    assert _foreign_requests(browser, site) == []


def test_no_page_embeds_a_resource_of_another_host() -> None:
    """All pages, also those that no test opens: only links lead out of the site."""
    loaded = re.compile(r"""<(?:script|img|iframe|source|video|link)\b[^>]*?\s(?:src|href)=["']?(?:https?:)?//[^>]*>""")
    for page in SITE.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not [tag for tag in loaded.findall(text) if 'rel="canonical"' not in tag], page


TWO_PAGES = {"index.md": "# Home", "other.md": "# Other"}
BROKEN: dict[str, dict[str, str | None]] = {
    "a dead link": {"index.md": "# Home\n\n[there](nowhere.md)"},
    "a missing anchor": {"index.md": "# Home\n\n[there](other.md#nowhere)"},
    "a page outside the menu": {"forgotten.md": "# Forgotten"},
    "a missing page": {"other.md": None},
    "nothing": {},
}


@pytest.mark.parametrize("broken", BROKEN)
def test_build_is_strict(broken: str, tmp_path: Path) -> None:
    """A two-page site with the settings of mkdocs.yml fails to build if something is wrong with it."""
    (tmp_path / "docs").mkdir()
    for name, text in {**TWO_PAGES, **BROKEN[broken]}.items():
        if text is not None:
            (tmp_path / "docs" / name).write_text(text)
    pages = f"nav: [index.md, other.md]\nextra_css: []\nhooks: [{tmp_path}/hooks.py]\nplugins: [search]\n"
    (tmp_path / "hooks.py").write_text(
        f"import sys\nsys.path[:0] = ['{SITE_HOOKS.parent}']\nfrom site_hooks import on_config\n"
    )
    folders = f"docs_dir: {tmp_path}/docs\nsite_dir: {tmp_path}/site\n"
    (tmp_path / "mkdocs.yml").write_text(f"INHERIT: {REPOSITORY}/mkdocs.yml\n{folders}{pages}")
    build = [MKDOCS, "build", "--quiet", "--strict", "--config-file", str(tmp_path / "mkdocs.yml")]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (broken == "nothing"), done.stderr


def test_reference_lists_every_public_name() -> None:
    page = _ids("reference/python-api.html")
    assert {f"spot_edge.{name}" for name in spot_edge.__all__} - page == set()


@pytest.mark.parametrize(
    ("folder", "package"), [("benchmarks", "spot_bench"), ("train", "spot_train"), ("convert", "spot_convert")]
)
def test_reference_lists_the_public_names_of_the_toolkit(folder: str, package: str) -> None:
    page, wanted = _ids(f"reference/python-api-{package}.html"), set()
    for path in (REPOSITORY / folder / package).rglob("*.py"):
        module = ".".join(path.relative_to(REPOSITORY / folder).with_suffix("").parts).removesuffix(".__init__")
        wanted |= {f"{module}.{name}" for name in _exported(path)}
    assert len(wanted) > 50
    assert wanted - page == set()


def test_reference_lists_every_command_and_option() -> None:
    page = (SITE / "reference" / "command-line.html").read_text(encoding="utf-8")
    ids, options = _ids("reference/command-line.html"), set(re.findall(r"--[a-z][a-z-]+", html.unescape(page)))
    commands = dict(_commands(spot_edge_command, "spot-edge"))
    assert {"spot-edge", "spot-edge classify", "spot-edge bench drift", "spot-edge train"} <= set(commands)
    assert {name.replace(" ", "-") for name in commands} <= ids
    named = {name for command in commands.values() for option in command.params for name in option.opts}
    assert {name for name in named if name.startswith("--")} <= options


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for below in command.list_commands(context):
            child = command.get_command(context, below)
            assert child is not None
            yield from _commands(child, f"{name} {below}")


def _ids(page: str) -> set[str]:
    return {html.unescape(each) for each in re.findall(r'\bid="([^"]+)"', (SITE / page).read_text(encoding="utf-8"))}


def _exported(path: Path) -> set[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] == ["__all__"]:
            return {str(each.value) for each in ast.walk(node.value) if isinstance(each, ast.Constant)}
    return set()
