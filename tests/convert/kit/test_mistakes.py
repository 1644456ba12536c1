"""The check names the mistakes of an app from its scores."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import OpResolverType
from imitation import (
    DARK,
    FED,
    NOISE,
    PREPARED,
    READ,
    App,
    centre_crop,
    mediapipe_way,
    mistakes,
    right_way,
    run_command,
    stock_way,
    verdict,
)

from spot_convert.commands import kit as cli
from spot_convert.kit.check import check
from spot_convert.kit.results import read_results
from spot_convert.kit.vectors import read_kit
from spot_edge import read_model


@pytest.mark.parametrize("part", ["inputs", "vectors"])
@NOISE
def test_an_app_without_a_mistake_conforms(kit: Path, tmp_path: Path, part: str, noise: float) -> None:
    found = verdict(kit, tmp_path, App(noise=noise, digests=True, means=True).run(kit, part))
    assert found["conforms"]
    assert mistakes(found) == []


def test_other_kernels_conform_and_their_mistakes_are_named(kit: Path, tmp_path: Path) -> None:
    app = App(kernels=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    found = verdict(kit, tmp_path, app.run(kit, "inputs"))
    assert found["conforms"]
    assert 0.001 < found["findings"][0]["largest"] < found["tolerance"]["score"] / 2
    for mistake in ("bgr", "mirrored"):
        assert mistakes(verdict(kit, tmp_path, replace(app, change=FED[mistake]).run(kit, "inputs"))) == [mistake]


@NOISE
@pytest.mark.parametrize("mistake", PREPARED)
def test_wrong_resizing_is_named(kit: Path, tmp_path: Path, mistake: str, noise: float) -> None:
    found = verdict(kit, tmp_path, replace(PREPARED[mistake], noise=noise).run(kit))
    assert mistakes(found) == [mistake]


@NOISE
@pytest.mark.parametrize("resized", [None, right_way, stock_way, mediapipe_way])
@pytest.mark.parametrize("mistake", FED)
def test_a_wrong_tensor_is_named_after_either_resizing(
    kit: Path, tmp_path: Path, mistake: str, resized: Any, noise: float
) -> None:
    app = App(resized or right_way, FED[mistake], noise=noise)
    found = verdict(kit, tmp_path, app.run(kit, "vectors" if resized else "inputs"))
    assert mistakes(found) == [mistake]


@NOISE
@pytest.mark.parametrize("how", DARK)
def test_an_almost_black_image_is_named_whatever_the_cause(kit: Path, tmp_path: Path, how: str, noise: float) -> None:
    assert mistakes(verdict(kit, tmp_path, App(change=DARK[how], noise=noise).run(kit))) == ["dark"]


@NOISE
@pytest.mark.parametrize("prepare", [right_way, stock_way])
@pytest.mark.parametrize("mistake", READ)
def test_a_wrong_reading_is_named_after_either_resizing(
    kit: Path, tmp_path: Path, mistake: str, prepare: Any, noise: float
) -> None:
    found = verdict(kit, tmp_path, App(prepare, read=READ[mistake], noise=noise).run(kit))
    assert mistakes(found) == [mistake]


@NOISE
@pytest.mark.parametrize("output", ["evidence", "embedding"])
def test_the_beginning_of_another_output_is_named(kit: Path, tmp_path: Path, output: str, noise: float) -> None:
    app = App(read=lambda outputs: outputs[output].ravel()[:7] + noise)
    assert mistakes(verdict(kit, tmp_path, app.run(kit))) == [f"output-{output}"]


@NOISE
def test_a_stale_buffer_is_named(kit: Path, tmp_path: Path, noise: float) -> None:
    first = App(report=lambda scores: [scores[0]] * len(scores), noise=noise)
    assert mistakes(verdict(kit, tmp_path, first.run(kit))) == ["stale"]
    behind = App(report=lambda scores: [np.zeros(7), *scores[:-1]], noise=noise)
    assert mistakes(verdict(kit, tmp_path, behind.run(kit))) == ["behind"]


def test_constant_scores_are_named(kit: Path, tmp_path: Path) -> None:
    app = App(report=lambda scores: [np.array([0.3, 0.0, 0.2, 0.3, 0.0, 0.2, 0.0])] * len(scores))
    assert mistakes(verdict(kit, tmp_path, app.run(kit))) == ["constant"]


@NOISE
def test_scores_in_another_order_are_named_with_it(kit: Path, tmp_path: Path, noise: float) -> None:
    app = App(report=lambda scores: [row[[5, 4, 2, 3, 1, 0, 6]] for row in scores], noise=noise)
    found = verdict(kit, tmp_path, app.run(kit))
    assert mistakes(found) == ["order"]
    assert "nv, mel, bkl" in found["findings"][0]["causes"][0]["what"]


def test_alphabetically_sorted_labels_are_named(kit: Path, tmp_path: Path) -> None:
    known = replace(read_kit(kit), labels=("nv", "mel", "bkl", "vasc", "df", "bcc", "akiec"))
    order = sorted(range(7), key=known.labels.__getitem__)
    run = App(report=lambda scores: [row[order] for row in scores]).run(kit)
    (tmp_path / "results.json").write_text(json.dumps(run))
    (finding,) = check(known, read_results(tmp_path / "results.json", known)).findings
    assert [cause.mistake for cause in finding.causes] == ["sorted-labels"]


def test_labels_in_the_results_define_the_order(kit: Path, tmp_path: Path) -> None:
    run = App(report=lambda scores: [row[::-1] for row in scores]).run(kit)
    labels = (kit / "labels.txt").read_text().split()
    for entry in run["results"]:
        entry["labels"] = labels[::-1]
    assert verdict(kit, tmp_path, run)["conforms"]


def test_preparing_an_image_twice_is_named(kit: Path, tmp_path: Path) -> None:
    app = App(change=lambda tensor: right_way(tensor, len(tensor)))
    assert mistakes(verdict(kit, tmp_path, app.run(kit, "inputs"))) == ["again"]


def test_a_stock_client_conforms_if_it_declares_that(kit: Path, tmp_path: Path) -> None:
    assert verdict(kit, tmp_path, App(mediapipe_way, says={"resize": "stock"}).run(kit))["conforms"]
    app = App(stock_way, says={"resize": "stock"})
    found = verdict(kit, tmp_path, app.run(kit), app.run(kit, "inputs"))
    assert found["conforms"]
    assert [finding["folder"] for finding in found["findings"]] == ["inputs", "vectors"]
    assert mistakes(verdict(kit, tmp_path, replace(app, change=np.fliplr).run(kit))) == ["mirrored"]


def test_correct_inputs_and_wrong_vectors_are_distinguished(kit: Path, tmp_path: Path) -> None:
    found = verdict(kit, tmp_path, App().run(kit, "inputs"), App(centre_crop).run(kit))
    assert [(finding["folder"], finding["conforms"]) for finding in found["findings"]] == [
        ("inputs", True),
        ("vectors", False),
    ]


def test_another_model_file_is_named_by_its_id(kit: Path, tmp_path: Path) -> None:
    found = verdict(kit, tmp_path, App(says={"model": "0" * 64}).run(kit))
    assert not found["conforms"]
    assert found["other_model"] == "0" * 64
    assert verdict(kit, tmp_path, App(says={"model": read_model().id}).run(kit))["conforms"]


def test_random_scores_for_correct_inputs_point_to_the_file(kit: Path, tmp_path: Path) -> None:
    wild = np.random.default_rng(1).dirichlet(np.ones(7), 11)
    app = App(report=lambda scores: list(wild))
    found = verdict(kit, tmp_path, app.run(kit, "inputs"))
    assert mistakes(found) == []
    assert found["findings"][0]["nearest"] is not None
    found = verdict(kit, tmp_path, replace(app, digests=True).run(kit, "inputs"))
    assert "another model file" in found["findings"][0]["notes"][0]


def test_input_digests_decide_if_scores_do_not(kit: Path, tmp_path: Path) -> None:
    wild = np.random.default_rng(1).dirichlet(np.ones(7), 11)
    app = App(change=FED["bgr"], report=lambda scores: list(wild), digests=True)
    (note,) = verdict(kit, tmp_path, app.run(kit, "inputs"))["findings"][0]["notes"]
    assert "byte for byte" in note
    assert "red and blue" in note
    lying = replace(App(), change=lambda tensor: tensor, means=True).run(kit, "inputs")
    for entry in lying["results"]:
        entry["input_mean"] = entry["input_mean"][::-1]
    assert not verdict(kit, tmp_path, lying)["conforms"]


def test_the_report_in_words(kit: Path, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(App(stock_way, FED["bgr"]).run(kit)))
    done = run_command(cli.kit.commands["check"], kit, tmp_path / "results.json")
    assert "red and blue are swapped: BGR instead of RGB; also, the app uses stock resizing" in done.stdout
    assert "fix: feed RGB" in done.stdout
    assert str(done.exception).endswith("the app uses stock resizing")
    assert "\n" not in str(done.exception)
    wild = App(
        report=lambda scores: [np.full(7, 1 / 7) + 0.1 * (row > 0.5) for row in scores], says={"model": "f" * 64}
    )
    (tmp_path / "results.json").write_text(json.dumps(wild.run(kit)))
    done = run_command(cli.kit.commands["check"], kit, tmp_path / "results.json")
    assert "the app used another file, with id ffffffffffff" in done.stdout
    assert "no common mistake explains the scores" in done.stdout
    assert "nearest, with a difference of" in done.stdout
    (tmp_path / "results.json").write_text(json.dumps(App().run(kit)))
    assert (
        "vectors  11 images: conform\n" in run_command(cli.kit.commands["check"], kit, tmp_path / "results.json").stdout
    )


def test_input_means_that_match_no_mistake_are_noted(kit: Path, tmp_path: Path) -> None:
    run = App().run(kit, "inputs")
    for entry in run["results"]:
        entry["input_mean"] = [300, -50, 0]
    assert "match no common mistake" in verdict(kit, tmp_path, run)["findings"][0]["notes"][0]
