"""Measure what each ingredient of a recipe does to validation: `python -m experiments.recipe_ablation`.

Trains every variant in `recipe_ablation.toml` and keeps its validation predictions in a folder, so that the study can
be interrupted and resumed. Then prints the table, paired by image and seed. The test split is not used.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import keras
import numpy as np
from numpy.typing import NDArray

from spot_bench.stats import metrics
from spot_bench.stats.calibration import fit_temperature, softmax
from spot_bench.stats.intervals import Estimate, bootstrap_many
from spot_edge.files import write_file
from spot_train.data.pixels import cached_pixels
from spot_train.loop.fit import predict_logits
from spot_train.loop.session import read_task, train_run
from spot_train.recipes.recipe import load_recipe, recipe_hash

STATISTICS: dict[str, Callable[..., float]] = {
    "balanced accuracy": metrics.balanced_accuracy,
    "macro AUC": metrics.macro_auc,
    "log loss": metrics.log_loss,
}


@click.command()
@click.option("--plan", type=click.Path(path_type=Path), default=Path(__file__).with_suffix(".toml"), show_default=True)
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--weights", default="imagenet", show_default=True, help="Pretrained weights, as for `train`.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the trainings, to resume.")
@click.option("--only", multiple=True, help="Train only this variant. Repeatable.")
@click.option("--report", is_flag=True, help="Only print the table.")
def main(plan: Path, data: Path, weights: str, out: Path, only: tuple[str, ...], report: bool) -> None:
    """Train the variants of a plan, and print how each changes the metrics."""
    content = tomllib.loads(plan.read_text(encoding="utf-8"))
    variants: dict[str, list[str]] = {"base": [], **content["variants"]}
    predictions: dict[str, dict[int, Path]] = {}
    for seed in content["seeds"]:  # seed by seed, so that an interrupted study is still paired
        for name, changes in variants.items():
            settings = [*content["base"], *changes, f"train.seed={seed}"]
            file = out / f"{recipe_hash(load_recipe(content['recipe'], settings))[:16]}.npy"
            if not file.exists() and not report and (not only or name in only):
                click.echo(f"--- {name}, seed {seed}", err=True)
                _train(content["recipe"], settings, data, weights, file)
            if file.exists():
                predictions.setdefault(name, {})[seed] = file
    task = read_task(load_recipe(content["recipe"]), data, lambda line: None)
    val = task.manifest.split("val")
    click.echo(_table(predictions, task.indices(val), [item.group for item in val.items]))


def _train(recipe_name: str, settings: list[str], data: Path, weights: str, file: Path) -> None:
    recipe = load_recipe(recipe_name, settings)
    cache, run = file.parent / "pixels", file.with_suffix("")
    if not run.exists():
        train_run(recipe, data, run, weights=weights, cache=cache, log=lambda line: click.echo(line, err=True))
    body = keras.saving.load_model(run / "model.keras", compile=False)
    val = read_task(recipe, data, lambda line: None).manifest.split("val")
    logits = predict_logits(body, cached_pixels(val, recipe.network.image, cache))
    np.save(file, logits)
    write_file(file.with_suffix(".json"), json.dumps(settings).encode())


def _table(predictions: dict[str, dict[int, Path]], truth: NDArray[np.int64], groups: list[str]) -> str:
    """Return a table of the base's metrics and every variant's paired differences, with intervals over lesions."""
    rows = []
    for name, files in predictions.items():
        seeds = sorted(set(files) & set(predictions["base"]))
        ours, base = ([_scores(part[seed], truth) for seed in seeds] for part in (files, predictions["base"]))

        def differences(
            rows: NDArray[np.int64],
            ours: list[NDArray[np.float64]] = ours,
            base: list[NDArray[np.float64]] = base,
            plain: bool = name == "base",
        ) -> NDArray[np.float64]:
            def mean(sets: list[NDArray[np.float64]], of: Callable[..., float]) -> float:
                return float(np.mean([of(truth[rows], scores[rows]) for scores in sets]))

            return np.array([mean(ours, of) - (0 if plain else mean(base, of)) for of in STATISTICS.values()])

        estimates = bootstrap_many(differences, groups, np.arange(len(truth)))
        rows.append([name, str(len(seeds)), *(_cell(e, name != "base") for e in estimates)])
    heads = ["variant", "seeds", *STATISTICS]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))


def _scores(file: Path, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return calibrated scores, so that log losses compare what was learned and not its scale."""
    logits = np.load(file)
    return softmax(logits / fit_temperature(logits, truth))


def _cell(estimate: Estimate, signed: bool) -> str:
    form = "+.3f" if signed else ".3f"
    return f"{estimate.value:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"


if __name__ == "__main__":
    main()
