"""Charts and HTML templates: reproducible, self-contained, every text escaped."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from experiments.frontier.page import chart, trained_accuracy
from spot_bench.report.charts import draw, legend
from spot_bench.report.html import render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ODD = "<script>alert(1)</script> $x_1$ & 漢"


def odd(figure: Figure) -> None:
    figure.subplots().errorbar([1, 2], [3, 4], yerr=1, label=ODD)
    legend(figure)


def test_a_chart_is_reproducible_and_has_no_metadata() -> None:
    drawn = draw(odd, 300, 200)
    assert drawn == draw(odd, 300, 200)
    assert drawn.startswith("<svg")
    assert "metadata" not in drawn
    assert " id=" not in drawn.replace("<path id=", "").replace("<clipPath id=", "")  # others repeat in every chart


def test_labels_are_text_even_if_they_look_like_markup_or_mathematics() -> None:
    drawn = draw(odd, 300, 200)
    assert "<script" not in drawn
    texts = [element.text for element in ElementTree.fromstring(drawn).iter() if element.tag.endswith("text")]
    assert ODD in texts


def test_the_users_matplotlib_settings_do_not_change_a_chart() -> None:
    import matplotlib

    drawn = draw(odd, 300, 200)
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black"}):
        assert draw(odd, 300, 200) == drawn
        assert matplotlib.rcParams["font.size"] == 20


def test_a_template_escapes_texts_and_control_characters(tmp_path: Path) -> None:
    template = tmp_path / "page.html.j2"
    template.write_text(
        '{% extends "base.html.j2" %}{% block body %}<p>{{ text }}{{ text|safe|length }}</p>{% endblock %}'
    )
    page = render(template, title="<b>", text=f"\x1b{ODD}")
    assert f"<p>\\x1b&lt;script&gt;alert(1)&lt;/script&gt; $x_1$ &amp; 漢{len(ODD) + 1}</p>" in page
    assert "<title>&lt;b&gt;</title>" in page
    with pytest.raises(Exception, match="'text' is undefined"):
        render(template, title="a value is missing")


def test_reports_are_importable_without_the_report_extra() -> None:
    modules = (
        "spot_bench.drift.page",
        "spot_bench.report.charts",
        "spot_bench.report.html",
        "spot_bench.commands.bench",
    )
    code = "import sys; sys.modules['jinja2'] = sys.modules['matplotlib'] = None\n"
    code += "".join(f"import {module}\n" for module in modules)
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_wheel_contains_the_templates_and_the_style(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=root, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packages = [root / "benchmarks" / "spot_bench", root / "train" / "spot_train", root / "convert" / "spot_convert"]
    files = [file for package in packages for end in ("j2", "mplstyle") for file in package.rglob(f"*.{end}")]
    wanted = {file.relative_to(root / file.relative_to(root).parts[0]).as_posix() for file in files}
    assert len(wanted) >= 6
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())


def test_the_frontier_shows_every_width_and_side() -> None:
    members = [
        SimpleNamespace(
            width=width,
            side=side,
            variant=variant,
            bytes=int(size * width),
            ratio=SimpleNamespace(value=width * side / 224),
            accuracy={"value": 0.75} if side == 224 else None,
        )
        for width in (0.35, 1.0)
        for side in (96, 224)
        for variant, size in (("float32", 9e6), ("int8", 3e6))
    ]
    drawn = chart(members)
    texts = [element.text for element in ElementTree.fromstring(drawn).iter() if element.tag.endswith("text")]
    for words, times in (("float32", 1), ("int8", 1), ("0.35", 2), ("96", 4), ("224: 0.750", 4)):
        assert texts.count(words) == times


def test_the_frontier_reads_the_accuracy_of_trained_networks(repository: Path) -> None:
    report = repository / "models" / "spot" / "test-report.json"
    trained = [{"width": 1.0, "side": 192, "report": str(report)}]
    (comparison,) = json.loads(report.read_text())["comparisons"]
    for side in ("baseline", "other"):
        own = comparison[side]
        assert trained_accuracy(trained, 1.0, 192, own["model"]["variant"]) == own["balanced_accuracy"]
    assert trained_accuracy(trained, 1.0, 192, "float16") is None
    assert trained_accuracy(trained, 0.5, 192, "int8") is None
