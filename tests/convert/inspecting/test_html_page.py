"""The HTML page that `--html` writes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from files_by_hand import EMBEDDED, Codes, Made, chain, chain_weights, run

from spot_edge.errors import InputError, OutputError


def test_options_that_need_another_option_are_usage_errors() -> None:
    for arguments in (("--against", EMBEDDED), ("--layers", "--image", "x.jpg")):
        assert run(EMBEDDED, *arguments).exit_code == 2


def test_an_unreadable_image_leaves_no_page(tmp_path: Path, write: Callable[[bytes], Path]) -> None:
    path, page = write(chain(chain_weights(), int8=False)), tmp_path / "page.html"
    (tmp_path / "no.jpg").write_bytes(b"not an image")
    done = run(path, "--layers", "--against", path, "--image", tmp_path / "no.jpg", "--html", page)
    assert isinstance(done.exception, InputError)
    assert not page.exists()


def test_an_existing_page_is_never_overwritten(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("mine")
    assert isinstance(run(EMBEDDED, "--html", page).exception, OutputError)
    assert page.read_text() == "mine"
    assert isinstance(run(EMBEDDED, "--html", tmp_path / "none" / "page.html").exception, OutputError)


def test_the_page_is_self_contained_and_complete(write: Callable[[bytes], Path], tmp_path: Path) -> None:
    weights, page = chain_weights(), tmp_path / "page.html"
    own, baseline = write(chain(weights, int8=True)), write(chain(weights, int8=False))
    done = run(own, "--layers", "--against", baseline, "--html", page)
    assert done.exit_code == 0
    text = page.read_text()
    assert not re.search(r"<script|<link|<img|src=|https?:|url\(|@import", text)
    assert text.count('class="row"') == 2 * len(weights)  # an error and a range of weights each
    for heading in ("Operators", "Error of each layer", "Weights of each layer", "Layers"):
        assert f"<h2>{heading}</h2>" in text
    assert "dynamic range" in text
    assert 'name="viewport"' in text


def test_names_in_a_file_are_escaped_in_terminal_and_page(write: Callable[[bytes], Path], tmp_path: Path) -> None:
    made = Made()
    fed, given = made.tensor("\x1b[31m<script>\n", [1]), made.tensor("given", [1])
    made.operator(Codes.RELU, [fed], given)
    page = tmp_path / "page.html"
    done = run(write(made.bytes([fed], [given])), "--layers", "--html", page)
    assert "\x1b" not in done.output
    assert "\\x1b[31m<script>\\n" in done.output
    assert "<script" not in page.read_text()
