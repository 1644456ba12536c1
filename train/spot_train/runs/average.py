"""Average the weights of several runs into one that often predicts better and costs no more.

Runs that start from the same pretrained weights and train gently end in the same flat region of the loss, so the mean
of their weights works too (model soups, Wortsman et al. 2022). Runs whose batch norm adapts are refused: their mean
would have no statistics of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spot_bench.run.directory import SOURCES, read_run_description
from spot_edge.errors import DataError
from spot_edge.files import write_file
from spot_train.data.extra import with_training
from spot_train.data.pixels import pixel_array
from spot_train.loop.fit import predict_logits
from spot_train.loop.session import read_task
from spot_train.recipes.recipe import load_recipe
from spot_train.report.page import validation_files
from spot_train.report.validation import validation_metrics
from spot_train.runs.directory import load_network, new_run, write_json

__all__ = ["average_runs"]

_FROM_FIRST_RUN = ("recipe.toml", "split.csv", "history.csv", "history.svg")


def average_runs(runs: Sequence[Path], data: Path, out: Path, log: Callable[[str], None]) -> dict[str, Any]:
    """Write a run to `out` with the mean weights of `runs`, and return its metrics on the validation split of `data`.

    Recipe, split and history come from the first run; `run.json` has the recipes of all. DataError if the runs differ
    in labels, split, network, pretrained weights, sources or `train.shift_to_balance`.
    """
    if len(runs) < 2:
        raise DataError("averaging needs two or more runs")
    descriptions = [read_run_description(run) for run in runs]
    for run, about in zip(runs[1:], descriptions[1:], strict=True):
        for key in ("labels", "image", "split_sha256", "weights"):
            if about[key] != descriptions[0][key]:
                raise DataError(f"{run}: cannot average it with {runs[0]}: they differ in {key}")
        if about.get("sources") != descriptions[0].get("sources"):
            raise DataError(f"{run}: cannot average it with {runs[0]}: they differ in sources")
    recipes = [load_recipe(str(run / "recipe.toml")) for run in runs]
    recipe = recipes[0]
    for run, other in zip(runs, recipes, strict=True):
        if other.train.shift_to_balance != recipe.train.shift_to_balance:
            raise DataError(f"{run}: cannot average it with {runs[0]}: they differ in train.shift_to_balance")
    if any(each.train.batch_norm != "frozen" for each in recipes):
        raise DataError("cannot average runs with adapting batch norm: its statistics fit the weights of one run only")
    body = _mean_body(runs)
    task = read_task(recipe, data, log)
    val = task.manifest.split("val")
    log(f"averaging {len(runs)} runs and evaluating {len(val.items)} validation images")
    logits, truth = predict_logits(body, pixel_array(val, recipe.network.image)), task.indices(val)
    metrics = validation_metrics(logits, truth, [item.group for item in val.items], task.labels)
    with new_run(out) as folder:
        for name in _FROM_FIRST_RUN:
            shutil.copyfile(runs[0] / name, folder / name)
        if (runs[0] / SOURCES).is_dir():
            shutil.copytree(runs[0] / SOURCES, folder / SOURCES)
        root = data if data.is_dir() else data.parent
        members = [(run / "recipe.toml").read_text(encoding="utf-8") for run in runs]
        described = with_training(descriptions[0], [about["training"] for about in descriptions[1:]])
        write_json(folder / "run.json", described | {"data": str(root.resolve()), "mean_of": members})
        body.save(folder / "model.keras")
        write_json(folder / "metrics.json", metrics)
        for name, content in validation_files(metrics, logits, truth, task.labels).items():
            write_file(folder / name, content.encode())
    return metrics


def _mean_body(runs: Sequence[Path]) -> Any:
    bodies = [load_network(run) for run in runs]
    weights = [body.get_weights() for body in bodies]
    if any([w.shape for w in own] != [w.shape for w in weights[0]] for own in weights):
        raise DataError("cannot average runs with different networks")
    bodies[0].set_weights([np.mean(same, axis=0) for same in zip(*weights, strict=True)])
    return bodies[0]
