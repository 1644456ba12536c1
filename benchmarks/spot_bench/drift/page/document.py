"""The page as a whole: what is said first, and in which order the rest follows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spot_bench.data.manifest import Manifest
from spot_bench.drift.page import tables
from spot_bench.drift.page.contact import MOST_SHOWN, contact_sheet, thumbnails
from spot_bench.drift.page.figures import confusion_table, frontier_svg, reliability_svg, roc_svg, selective_svg
from spot_bench.drift.page.html import STYLE, Cell, plain
from spot_bench.drift.page.words import headline, sentences
from spot_bench.drift.report import called
from spot_bench.drift.subgroups import FEWEST_LESIONS, FEWEST_OF_A_CLASS
from spot_edge.files import write_file

__all__ = ["page", "write_page"]


def write_page(report: dict[str, Any], manifest: Manifest, path: Path) -> None:
    """Write the page of a report of `drift_report` to `path`, with thumbnails of the images of `manifest`."""
    shown = {flip["image"]: None for c in report["comparisons"] for flip in c["flips"][:MOST_SHOWN]}
    write_file(path, page(report, thumbnails(shown, manifest)).encode())


def page(report: dict[str, Any], pictures: dict[str, str]) -> str:
    """The whole page; `pictures` are data URIs by image name, and may lack some."""
    title = f"{', '.join(called(c['other']) for c in report['comparisons'])} against {_baseline(report)}"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{plain(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            *_top(report),
            *(part for c in report["comparisons"] for part in _model(c, pictures)),
            *_end(report),
            "</body>\n</html>\n",
        ]
    )


def _baseline(report: dict[str, Any]) -> str:
    return called(report["comparisons"][0]["baseline"])


def _top(report: dict[str, Any]) -> Iterator[Cell]:
    own, data = report["comparisons"][0]["baseline"], report["data"]
    yield f"<h1>What changed against {plain(_baseline(report))}, and for whom</h1>"
    yield (
        f'<p class="quiet">{own["images"]} images of {own["lesions"]} lesions: {plain(data["name"])}, part '
        f"{plain(data['part'])}. Small figures are 95 % intervals over lesions.</p>"
    )
    for comparison in report["comparisons"]:
        verdict = comparison["verdict"]["verdict"]
        points = "".join(f"<li>{plain(sentence)}</li>" for sentence in sentences(comparison))
        yield (
            f'<div class="verdict {verdict.replace(" ", "-")}"><p class="words">{plain(called(comparison["other"]))}: '
            f"{plain(headline(comparison))}</p><ul>{points}</ul></div>"
        )
    yield tables.overview(report)
    picture = frontier_svg(report)
    if picture:
        yield f"<figure><figcaption>What it costs, what it achieves</figcaption>{picture}</figure>"


def _missed(comparison: dict[str, Any]) -> str:
    """What the surest half of a model's answers still misses."""
    half = min(comparison["other"]["selective"], key=lambda found: abs(found["share"] - 0.5))
    missed = half["malignant_missed"]
    return f"{missed['count']} of the {missed['of']} malignant images in the surest {100 * half['share']:.0f} %"


def _model(comparison: dict[str, Any], pictures: dict[str, str]) -> Iterator[Cell]:
    names = {key: called(comparison[key]) for key in ("baseline", "other")}
    yield f'<section class="model"><h2>{plain(names["other"])} against {plain(names["baseline"])}</h2>'
    yield f"<h3>No worse than the baseline?</h3>{tables.criteria(comparison['verdict'])}"
    yield (
        '<p class="quiet">A criterion passes where even the bad end of its interval lies within the margin, and fails '
        "where even the good end lies beyond. Otherwise these images cannot tell.</p>"
    )
    yield f"<h3>Figures</h3>{tables.figures(comparison)}"
    errors = tables.errors_at_points(comparison)
    if errors:
        yield f"<h3>Errors at the operating points</h3>{errors}"
    yield f"<h3>First answers, by true class (recall)</h3>{tables.ranked_first(comparison)}"
    yield (
        f'<p class="quiet">Classes of fewer than {FEWEST_LESIONS} lesions as counts of images. Lost: images that only '
        "the baseline has right; gained: that only this model has. p: exact McNemar test, each lesion counted once."
        "</p>"
    )
    yield f"<h3>Classes</h3>{tables.classes(comparison)}"
    yield '<h3>Curves</h3><div class="beside">'
    yield f"<figure><figcaption>Right, against score</figcaption>{reliability_svg(comparison, names)}</figure>"
    if comparison["baseline"]["roc"]:
        yield f"<figure><figcaption>Malignant lesions found</figcaption>{roc_svg(comparison, names)}</figure>"
    yield f"<figure><figcaption>Right, of those answered</figcaption>{selective_svg(comparison, names)}</figure>"
    yield (
        '</div><p class="quiet">First: on the dotted line scores are what they say. Rings: operating points. Last: '
        "were only the images with the highest first scores answered. This model still calls "
        f"{_missed(comparison)} benign.</p>"
    )
    yield '<h3>Confusions</h3><div class="beside">'
    for key, name in names.items():
        yield f"<figure><figcaption>{plain(name)}</figcaption>{confusion_table(comparison[key]['confusion'])}</figure>"
    yield '</div><p class="quiet">Images: a row for each true class, a column for each first answer.</p>'
    found = tables.sets(comparison)
    if found:
        yield f"<h3>Sets of classes</h3>{found}"
        yield '<p class="quiet">How often the set holds the true class, and how many classes it has.</p>'
    if comparison["subgroups"]:
        yield f"<h3>For whom</h3>{tables.subgroups(comparison)}"
        yield (
            '<p class="quiet">This model less the baseline. Balanced accuracy: over classes of '
            f"{FEWEST_OF_A_CLASS} lesions or more. Malignant recall: a malignant class comes first where one is true. "
            f"Too few to tell: fewer than {FEWEST_LESIONS} lesions behind the figure. "
            "Among many subgroups a few differ by chance.</p>"
        )
    yield from _contact(comparison["flips"], pictures)
    yield "</section>"


def _contact(flips: list[dict[str, Any]], pictures: dict[str, str]) -> Iterator[Cell]:
    if not flips:
        return
    many = f"The worst {MOST_SHOWN} of {len(flips)}." if len(flips) > MOST_SHOWN else f"All {len(flips)}, worst first."
    yield f"<h3>Images whose first answer changed</h3><p>{many} Bold: what it is; then the baseline's answer and this "
    yield f"model's, with their scores.</p>{contact_sheet(flips, pictures)}"


def _end(report: dict[str, Any]) -> Iterator[Cell]:
    machine, models = report["machine"], [report["comparisons"][0]["baseline"]]
    models += [comparison["other"] for comparison in report["comparisons"]]
    yield "<h2>How this was measured</h2><ul>"
    for summary in models:
        about, skipped = summary["model"], summary["skipped"]
        words = f"{called(summary)}: {about.get('runtime', 'runtime not known')} {about.get('version', '')}"
        words += f", id {about['id'][:16]}" if about.get("id") else ""
        yield f"<li>{plain(words)}, {len(skipped)} images skipped</li>"
    yield f"<li>{plain(machine['cpu'])}, {plain(machine['system'])} {plain(machine['architecture'])}</li></ul>"
    yield '<p class="quiet">report.json beside this page holds every figure. The models are an aid for trained people, '
    yield "not a diagnosis. This page may hold pictures of patients: treat it as you treat those.</p>"
