"""Measure what each ingredient of a recipe does to validation: `python -m experiments.recipe_ablation`.

Trains what `ablation.toml` lists and keeps each training's answers to the validation part in a folder, so that it can
be interrupted, continued and recomputed; then prints the table. The test part is not read.
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
@click.option("--weights", default="imagenet", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the trainings; kept.")
@click.option("--only", multiple=True, help="Train these variants alone; the table shows whatever was trained.")
@click.option("--report", is_flag=True, help="Train nothing.")
def main(plan: Path, data: Path, weights: str, out: Path, only: tuple[str, ...], report: bool) -> None:
    """Train the variants of a plan and print what each of them changes."""
    content = tomllib.loads(plan.read_text(encoding="utf-8"))
    variants: dict[str, list[str]] = {"base": [], **content["variants"]}
    answers: dict[str, dict[int, Path]] = {}
    for seed in content["seeds"]:  # all variants of a seed first: an interrupted ablation is still paired
        for name, changes in variants.items():
            settings = [*content["base"], *changes, f"train.seed={seed}"]
            file = out / f"{recipe_hash(load_recipe(content['recipe'], settings))[:16]}.npy"
            if not file.exists() and not report and (not only or name in only):
                click.echo(f"--- {name}, seed {seed}", err=True)
                _train(content["recipe"], settings, data, weights, file)
            if file.exists():
                answers.setdefault(name, {})[seed] = file
    task = read_task(load_recipe(content["recipe"]), data, lambda line: None)
    val = task.manifest.split("val")
    click.echo(_table(answers, task.indices(val), [item.group for item in val.items]))


def _train(recipe_name: str, settings: list[str], data: Path, weights: str, file: Path) -> None:
    recipe = load_recipe(recipe_name, settings)
    cache, run = file.parent / "pixels", file.with_suffix("")
    if not run.exists():
        train_run(recipe, data, run, weights=weights, cache=cache, say=lambda line: click.echo(line, err=True))
    body = keras.saving.load_model(run / "model.keras", compile=False)
    val = read_task(recipe, data, lambda line: None).manifest.split("val")
    logits = predict_logits(body, cached_pixels(val, recipe.network.size, cache))
    np.save(file, logits)
    write_file(file.with_suffix(".json"), json.dumps(settings).encode())


def _table(answers: dict[str, dict[int, Path]], truth: NDArray[np.int64], groups: list[str]) -> str:
    """The base's figures, and every variant's paired differences from it, with intervals over lesions."""
    rows = []
    for name, files in answers.items():
        seeds = sorted(set(files) & set(answers["base"]))
        ours, base = ([_scores(part[seed], truth) for seed in seeds] for part in (files, answers["base"]))

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
    """Calibrated by the temperature that fits best, so that log losses compare what was learned, not its scale."""
    logits = np.load(file)
    return softmax(logits / fit_temperature(logits, truth))


def _cell(estimate: Estimate, signed: bool) -> str:
    form = "+.3f" if signed else ".3f"
    return f"{estimate.value:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"


if __name__ == "__main__":
    main()
