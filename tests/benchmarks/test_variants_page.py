"""The page of all variants, from small made-up reports."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from experiments.variants.__main__ import main
from experiments.variants.page import TEMPLATE, page
from experiments.variants.reports import read_family
from spot_edge.errors import DataError


def estimate(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.04, "high": value + 0.04, "n": 90, "groups": 60}


def model(variant: str, name: str = "toy", runtime: str = "ai-edge-litert") -> dict[str, str]:
    return {"name": name, "variant": variant, "id": f"id of {variant}", "runtime": runtime, "version": "2.3.0"}


def file(variant: str, size: int, **more: Any) -> dict[str, Any]:
    return {
        "variant": variant,
        "engine": "tensorflow",
        "measured_in": {"runtime": "ai-edge-litert", "version": "2.3.0"},
        "id": f"id of {variant}",
        "bytes": size,
        "drift": None if variant == "float32" else {"verdict": "undecided"},
        **more,
    }


def conversion(*files: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"schema": 1, "run": "toy", "files": files, "margins": {}, **more}


def summary(variant: str, balanced: float, **of_model: str) -> dict[str, Any]:
    return {
        "model": model(variant, **of_model),
        "lesions": 60,
        "balanced_accuracy": estimate(balanced),
        "classes": {"mel": {"recall": estimate(balanced - 0.2)}},
    }


def drift(*others: tuple[str, float], **of_model: str) -> dict[str, Any]:
    comparisons = [
        {
            "baseline": summary("float32", 0.75),
            "other": summary(variant, balanced, **of_model),
            "agreement": {"all": estimate(0.95)},
            "differences": {
                "balanced_accuracy": estimate(balanced - 0.75),
                "recall": {"mel": estimate(balanced - 0.75)},
            },
        }
        for variant, balanced in others
    ]
    data = {"name": "data.csv", "split": "test", "images": 90}
    return {"schema": 1, "data": data, "comparisons": comparisons}


def latency(*models: tuple[str, float]) -> dict[str, Any]:
    records = [
        {
            "model": {"file": f"{variant}.tflite", "name": "toy", "variant": variant, "id": f"id of {variant}"},
            "threads": threads,
            "delegate": True,
            "runtime": {"name": "ai-edge-litert", "version": "2.3.0"},
            "rows_ms": {"invoke": {"p50": estimate(milliseconds / threads)}},
            "against_float32": None if variant == "float32" else {"ratio": estimate(milliseconds / 10)},
        }
        for threads in (2, 1)
        for variant, milliseconds in models
    ]
    machine = {"cpu": "a processor", "cores": 2}
    return {
        "report": "latency",
        "schema": 2,
        "when": "2026-11-22T10:00:00",
        "machine": machine,
        "conditions": {"other_work": 0.3},
        "samples": 300,
        "models": records,
    }


def instructions(*counts: tuple[str, float | str]) -> dict[str, Any]:
    networks = [
        {
            "file": f"{variant}.tflite",
            "name": "toy",
            "variant": variant,
            "id": f"id of {variant}",
            "counts": {
                "pi4-litert": {"refused": count}
                if isinstance(count, str)
                else {"invoke": int(1e6 * count), "without_xnnpack": int(2e6 * count)}
            },
        }
        for variant, count in counts
    ]
    strange = {"file": "other.tflite", "name": None, "variant": None, "id": None, "counts": {}}
    return {"report": "instructions", "schema": 1, "versions": {}, "networks": [*networks, strange]}


def write(folder: Path, **reports: dict[str, Any]) -> Path:
    for name, report in reports.items():
        place = folder / name
        place.mkdir(parents=True)
        (place / "report.json").write_text(json.dumps(report))
    return folder


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """int4 was never timed, dynamic only counted, int16x8 cannot be made."""
    folder = write(
        tmp_path / "wide",
        family=conversion(
            file("float32", 9_000_000), file("int8", 2_750_000), file("int4", 2_600_000, compressed_bytes=1_300_000)
        ),
        answers=drift(("int8", 0.74), ("int4", 0.65)),
        speed=latency(("float32", 10.0), ("int8", 4.5)),
        counts=instructions(("float32", 89.5), ("int8", 83.3), ("dynamic", 112.9), ("int4", "ValueError: no int4")),
    )
    (folder / "notes.toml").write_text('[int16x8]\ncannot = "refused at allocation"\n[int8]\nnote = "the default"\n')
    return folder


def rows_of(text: str, variant: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if re.match(rf"\| {re.escape(variant)}[ (|]", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_what_is_known_stands_in_the_tables(wide: Path) -> None:
    text = page([read_family("1.0", wide)], "{{tables}}\n{{cannot}}\n{{measured}}\n{{images}} {{lesions}} {{split}}")
    costs, answers = rows_of(text, "int8")
    assert costs == ["int8", "tensorflow, ai-edge-litert", "2.75", "–", "4.50", "0.45 (0.41 to 0.49)", "83.3"]
    assert answers[1:4] == ["95.0 (91.0-99.0)", "0.740 (0.700 to 0.780)", "-0.010 (-0.050 to +0.030)"]
    assert answers[-1] == "undecided"
    costs, answers = rows_of(text, "int4")
    assert costs[2:] == ["2.60", "1.30", "–", "–", "refused"]
    assert answers[2] == "0.650 (0.610 to 0.690)"
    costs, answers = rows_of(text, "dynamic")
    assert costs[1:] == ["–", "–", "–", "–", "–", "112.9"]
    assert answers[1:] == ["–"] * 6
    assert rows_of(text, "float32")[1][-1] == "baseline"
    assert "- int8: the default" in text
    assert "- int16x8 at width 1.0: refused at allocation" in text
    assert "- int4 at width 1.0 is refused on Pi 4: `ValueError: no int4`" in text
    assert "300 rounds, in turns, one thread. Other work took 30 % of the processors' time: trust the ratios." in text
    assert text.endswith("90 60 test")
    assert [row.variant for row in read_family("1.0", wide).rows] == ["float32", "int8", "int4", "dynamic"]


def test_figures_in_the_text(wide: Path, tmp_path: Path) -> None:
    narrow = write(tmp_path / "narrow", family=conversion(file("float32", 1_600_000), file("int8", 640_000)))
    families = [read_family("1.0", wide), read_family("0.35", narrow)]
    text = page(
        families, "{{int8 mb}} {{0.35 int8 mb}} {{narrow int8 balanced}} {{int4 zipped}} {{qat-int8 mb}} {{wide}}"
    )
    assert text == "2.75 0.64 – 1.30 – 1.0"
    assert page(families, "{{int8 near 0.1}} {{int8 in set}}") == "– –"  # no report of flips
    for wrong in ("int8 weight", "int8", "int8 near", "int8 flips 3", "figures"):
        with pytest.raises(DataError, match=rf"page\.md: {{{{{wrong}}}}}: no such figure"):
            page(families, f"{{{{{wrong}}}}}")


def test_the_pages_own_text_is_filled(wide: Path) -> None:
    text = page([read_family("1.0", wide)])
    assert "{{" not in text
    assert "2.75 MB instead of 9.00, 0.45 times" in " ".join(text.split())
    assert "Not measured." in text
    assert len(TEMPLATE.read_text()) < len(text)


FLIPS: dict[str, Any] = {
    "baseline": {"model": model("float32")},
    "models": [
        {
            "name": variant,
            "model": model(variant),
            "flips": estimate(0.05),
            "by_effect": {"malignancy lost": 1, "now wrong": 2, "still wrong": 0, "now right": 2},
            "triage": {"changed": estimate(0.06), "malignant_less_urgent": {"count": 1, "of": 20}},
            "near_tie": {
                "margin_below": [
                    {"below": limit, "flagged": estimate(limit), "flips": {"count": 3, "of": 5}} for limit in (0.1, 0.2)
                ],
                "prediction_set": {"both_classes": {"count": 2, "of": 5}, "top_two_of_all": estimate(0.4)},
            },
        }
        for variant in ("int8", "int4")
    ],
    "together": {
        "exemplars": {
            "count": 4,
            "by_chance": {
                key: {"mean": mean, "low": 0.0, "high": 2.0}
                for key, mean in (("any_images", 0.2), ("same_margin", 1.0))
            },
        },
        "near_tie": {
            "baseline_margin_below": [{"below": 0.1, "count": 3, "of": 4}],
            "both_classes": {"count": 5, "of": 8},
        },
        "concentration": {
            "tested": 3,
            "expected_below_.05": 0.15,
            "subgroups": [
                {"column": "class", "subgroup": "bkl", "rate": estimate(0.1), "ratio": estimate(3.0), "p_holm": 0.01}
                | {"ratio_same_margin": estimate(1.1), "p_same_margin_holm": 0.9},
                {"column": "sex", "subgroup": "", "rate": None},
            ],
        },
    },
}


def test_flips_in_short(wide: Path) -> None:
    write(wide, flips=drift(("int8", 0.74), ("int4", 0.6)) | {"flips_across_models": FLIPS})
    family = read_family("1.0", wide)
    assert page([family], "{{int4 top two in set}}") == "40.0 (36.0-44.0)"
    text = page([family], "{{flips}}\n{{int8 near 0.1}} {{int8 flagged 0.2}} {{int8 in set}} {{int8 less urgent}}")
    (row,) = rows_of(text, "int8")
    assert row == ["int8", "5", "5.0 (1.0-9.0)", "1", "2", "0", "2", "6.0 (2.0-10.0)", "1 of 20"]
    assert "At least half of the models flip 4 images. By chance it would be 0 (0 to 2)" in text
    assert "class bkl (3.00, 2.96 to 3.04 times the rest) stands out" in text
    assert "with the margin in float32 held fixed, nothing is left of it" in text
    assert text.endswith("3 of 5 20.0 (16.0-24.0) 2 of 5 1 of 20")
    left = FLIPS["together"]["concentration"]["subgroups"][0] | {"p_same_margin_holm": 0.04}
    concentration = FLIPS["together"]["concentration"] | {"subgroups": [left]}
    family = replace(family, flips=FLIPS | {"together": FLIPS["together"] | {"concentration": concentration}})
    assert "held fixed, class bkl (1.10, 1.06 to 1.14 times the rest) does" in page([family], "{{flips}}")
    with pytest.raises(DataError, match=r"has no margin 0\.7"):
        page([family], "{{int8 near 0.7}}")


def test_the_runtime_that_a_file_is_for_has_the_word(tmp_path: Path) -> None:
    """Measured in two runtimes: the file's own counts. Measured in another alone: it says so."""
    there = {"measured_in": {"runtime": "tflite-runtime", "version": "2.14.0"}}
    folder = write(
        tmp_path / "family",
        a=conversion(file("float32", 9_000_000), file("int8", 2_750_000), file("old", 2_750_001, **there)),
        b=drift(("int8", 0.70), runtime="tflite-runtime"),
        c=drift(("int8", 0.74), ("old", 0.6)),
    )
    for first, second in (("b", "c"), ("c", "b")):
        (folder / first).rename(folder / f"{second}0")
        rows = {row.variant: row for row in read_family("1.0", folder).rows}
        assert rows["int8"].answers is not None
        assert rows["int8"].answers["balanced_accuracy"]["value"] == 0.74
        (folder / f"{second}0").rename(folder / first)
    text = page([read_family("1.0", folder)], "{{tables}}")
    assert "| old (in ai-edge-litert) | 95.0" in text


def test_what_cannot_be_read_is_one_line(wide: Path, tmp_path: Path) -> None:
    def refused(match: str, **reports: dict[str, Any]) -> None:
        folder = write(tmp_path / f"bad-{len(list(tmp_path.iterdir()))}", a=conversion(file("int8", 3)), **reports)
        with pytest.raises(DataError, match=match):
            read_family("1.0", folder)

    refused("is not the file in .*a/report.json: measure that file again", b=instructions(("int8", 1.0)) | {
        "networks": [{"variant": "int8", "name": "toy", "id": "another", "counts": {}}]
    })  # fmt: skip
    refused("about model toyish, but other reports are about toy", b=drift(("int8", 0.7), name="toyish"))
    refused("not a report of spot-edge convert, bench drift", b={"metrics": 1})
    refused("has schema 9, not 1: run `bench drift` again", b=drift() | {"schema": 9})
    refused("int8 is also in .*a/report.json: keep one of them", b=conversion(file("int8", 3)))
    refused("uses other images than the other reports", b=drift(), c=drift() | {"data": {"split": "val", "images": 7}})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: holds no report \(\*\.json\)"):
        read_family("1.0", tmp_path / "empty")
    (wide / "family" / "report.json").write_text("{")
    with pytest.raises(DataError, match=r"report\.json: is not JSON"):
        read_family("1.0", wide)


def test_notes_say_two_things_alone(wide: Path) -> None:
    (wide / "notes.toml").write_text('[int8]\nbecause = "why not"\n')
    with pytest.raises(DataError, match="only `cannot` and `note` are allowed in the table"):
        read_family("1.0", wide)
    (wide / "notes.toml").write_text("[int8\n")
    with pytest.raises(DataError, match=r"notes\.toml: is not TOML"):
        read_family("1.0", wide)


def test_float32_is_in_every_conversion(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "two",
        a=conversion(file("float32", 9_000_000), file("int8", 2_750_000)),
        b=conversion(file("float32", 9_000_001) | {"id": "id of another"}, file("int4", 1_500_000)),
        c=drift(("int8", 0.7), ("int4", 0.6)),
    )
    assert {row.variant for row in read_family("1.0", folder).rows} == {"float32", "int8", "int4"}


def test_the_command(wide: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [f"1.0={wide}", "--page", str(tmp_path / "docs")])
    assert done.exit_code == 0
    assert done.output.endswith("variants.md: 4 variants of 1 widths\n")
    assert (tmp_path / "docs" / "variants.md").read_text().startswith("# Every quantization")
    assert (tmp_path / "docs" / "variants.svg").read_text().startswith("<svg")
    assert CliRunner().invoke(main, [str(wide), "--page", str(tmp_path)]).exit_code == 2
