"""Progress is shown on a terminal and nowhere else."""

from __future__ import annotations

import io
import re
import sys
from types import SimpleNamespace

import pytest

from spot_bench.run.progress import byte_counter, image_bar, no_bar, progress_bar


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_progress_is_shown_on_terminals_alone(monkeypatch: pytest.MonkeyPatch, kind: type[io.StringIO]) -> None:
    stream, clock = kind(), [100.0]
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("spot_bench.run.progress.time", SimpleNamespace(monotonic=lambda: clock[0]))
    with progress_bar("images", 2) as step:
        step(1)
        step(1)
    with image_bar("resumed", 10) as advance:  # 8 of 10 were done before
        advance(1, 2)
        advance(2, 2)
    with no_bar("hidden", 1) as step:
        step(1)
    with byte_counter("a.zip") as show:
        show(1_000_000, 4_000_000)
        clock[0] += 0.125
        show(2_000_000, 4_000_000)  # too soon after the last one
        clock[0] += 0.125
        show(3_000_000, 4_000_000)
        show(4_000_000, 4_000_000)
    with byte_counter("b.zip") as show:
        show(2_000_000, None)
    if kind is Terminal:
        text = stream.getvalue()
        assert "images" in text
        assert re.search(r"resumed .* 2/2 ", text)
        assert "hidden" not in text
        assert "a.zip  1.0 of 4.0 MB" in text
        assert "a.zip  2.0 of" not in text
        assert "a.zip  3.0 of 4.0 MB" in text
        assert text.count("a.zip") == 3
        assert text.endswith("b.zip  2.0 MB\033[K\n")
    else:
        assert stream.getvalue() == ""
