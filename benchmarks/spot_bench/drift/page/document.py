"""Assemble the page: verdicts first, then one section per model, then how it was measured."""

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
from spot_bench.drift.report import model_title
from spot_bench.drift.subgroups import FEWEST_LESIONS, FEWEST_OF_A_CLASS
from spot_edge.files import write_file

__all__ = ["page", "write_page"]


def write_page(report: dict[str, Any], manifest: Manifest, path: Path) -> None:
    """Write the page of a report of `drift_report` to `path`, with thumbnails of the images of `manifest`."""
    shown = {flip["image"]: None for c in report["comparisons"] for flip in c["flips"][:MOST_SHOWN]}
    write_file(path, page(report, thumbnails(shown, manifest)).encode())


def page(report: dict[str, Any], pictures: dict[str, str]) -> str:
    """Return the page; `pictures` are data URIs by image name, where an image could be read."""
    title = f"{', '.join(model_title(c['other']) for c in report['comparisons'])} against {_baseline(report)}"
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
    return model_title(report["comparisons"][0]["baseline"])


def _top(report: dict[str, Any]) -> Iterator[Cell]:
    own, data = report["comparisons"][0]["baseline"], report["data"]
    yield f"<h1>Accuracy drift from {plain(_baseline(report))}</h1>"
    yield (
        f'<p class="quiet">{own["images"]} images of {own["lesions"]} lesions: {plain(data["name"])}, split '
        f"{plain(data['split'])}. Small figures are 95 % intervals over lesions.</p>"
    )
    for comparison in report["comparisons"]:
        verdict = comparison["verdict"]["verdict"]
        points = "".join(f"<li>{plain(sentence)}</li>" for sentence in sentences(comparison))
        yield (
            f'<div class="verdict {verdict}"><p class="words">{plain(model_title(comparison["other"]))}: '
            f"{plain(headline(comparison))}</p><ul>{points}</ul></div>"
        )
    yield tables.overview(report)
    picture = frontier_svg(report)
    if picture:
        yield f"<figure><figcaption>Cost and accuracy</figcaption>{picture}</figure>"


def _missed(comparison: dict[str, Any]) -> str:
    """Count the malignant images that the half of the images with the highest scores still misses."""
    half = min(comparison["other"]["selective"], key=lambda found: abs(found["share"] - 0.5))
    missed = half["malignant_missed"]
    share = f"{100 * half['share']:.0f} % with the highest top scores"
    return f"{missed['count']} of the {missed['of']} malignant images among the {share}"


def _model(comparison: dict[str, Any], pictures: dict[str, str]) -> Iterator[Cell]:
    names = {key: model_title(comparison[key]) for key in ("baseline", "other")}
    yield f'<section class="model"><h2>{plain(names["other"])} against {plain(names["baseline"])}</h2>'
    yield f"<h3>Non-inferior to the baseline?</h3>{tables.criteria(comparison['verdict'])}"
    yield (
        '<p class="quiet">A criterion passes if even the bad end of its interval is within the margin, and fails if '
        "even the good end is beyond it. Otherwise it is undecided.</p>"
    )
    yield f"<h3>Figures</h3>{tables.figures(comparison)}"
    errors = tables.errors_at_points(comparison)
    if errors:
        yield f"<h3>Errors at the operating points</h3>{errors}"
    yield f"<h3>Top class, by true class (recall)</h3>{tables.recalls(comparison)}"
    yield (
        f'<p class="quiet">Classes with fewer than {FEWEST_LESIONS} lesions are shown as counts of images. Lost: '
        "images that only the baseline gets right; gained: only this model. p: exact McNemar test by lesion."
        "</p>"
    )
    yield f"<h3>Classes</h3>{tables.classes(comparison)}"
    yield '<h3>Curves</h3><div class="beside">'
    yield f"<figure><figcaption>Accuracy against score</figcaption>{reliability_svg(comparison, names)}</figure>"
    if comparison["baseline"]["roc"]:
        yield f"<figure><figcaption>ROC of the malignant score</figcaption>{roc_svg(comparison, names)}</figure>"
    yield f"<figure><figcaption>Accuracy against coverage</figcaption>{selective_svg(comparison, names)}</figure>"
    yield (
        '</div><p class="quiet">Left: on the dotted line, scores equal accuracy. Rings: operating points. Right: '
        "accuracy on the images with the highest top scores. This model calls "
        f"{_missed(comparison)} benign.</p>"
    )
    yield '<h3>Confusion matrices</h3><div class="beside">'
    for key, name in names.items():
        yield f"<figure><figcaption>{plain(name)}</figcaption>{confusion_table(comparison[key]['confusion'])}</figure>"
    yield '</div><p class="quiet">Numbers of images: one row per true class, one column per top class.</p>'
    found = tables.sets(comparison)
    if found:
        yield f"<h3>Prediction sets</h3>{found}"
        yield '<p class="quiet">How often the set includes the true class, and how many classes it has.</p>'
    if comparison["subgroups"]:
        yield f"<h3>Subgroups</h3>{tables.subgroups(comparison)}"
        yield (
            '<p class="quiet">This model minus the baseline. Balanced accuracy: over classes with at least '
            f"{FEWEST_OF_A_CLASS} lesions. Malignant recall: share of images of malignant classes whose top class is "
            f"malignant. Too few lesions: below {FEWEST_LESIONS}. Among many subgroups, a few differ by chance.</p>"
        )
    yield from _contact(comparison["flips"], pictures)
    yield "</section>"


def _contact(flips: list[dict[str, Any]], pictures: dict[str, str]) -> Iterator[Cell]:
    if not flips:
        return
    many = f"The worst {MOST_SHOWN} of {len(flips)}." if len(flips) > MOST_SHOWN else f"All {len(flips)}, worst first."
    yield f"<h3>Flipped images</h3><p>{many} Bold: the true class. Then the top class and score of the baseline "
    yield f"and of this model.</p>{contact_sheet(flips, pictures)}"


def _end(report: dict[str, Any]) -> Iterator[Cell]:
    machine, models = report["machine"], [report["comparisons"][0]["baseline"]]
    models += [comparison["other"] for comparison in report["comparisons"]]
    yield "<h2>How this was measured</h2><ul>"
    for summary in models:
        about, skipped = summary["model"], summary["skipped"]
        words = f"{model_title(summary)}: {about.get('runtime', 'runtime unknown')} {about.get('version', '')}"
        words += f", id {about['id'][:16]}" if about.get("id") else ""
        yield f"<li>{plain(words)}, {len(skipped)} images skipped</li>"
    yield f"<li>{plain(machine['cpu'])}, {plain(machine['system'])} {plain(machine['architecture'])}</li></ul>"
    yield '<p class="quiet">report.json beside this page has every figure. The models are an aid for trained people, '
    yield "not a diagnosis. This page contains thumbnails of your images: protect it as you protect them.</p>"
