"""The report of `spot-edge bench drift` as one self-contained HTML page without scripts, fonts or other files."""

from __future__ import annotations

from spot_bench.drift.page.document import page, write_page

__all__ = ["page", "write_page"]
