"""Files for microcontrollers, as far as tflite-micro is not needed. `make check TARGET=micro` tests the rest."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from spot_convert.checks.parity import operator_names
from spot_convert.images import EvaluationImages
from spot_convert.inspect.graph import read_flatbuffer
from spot_convert.pipeline import convert_run
from spot_convert.run import Run
from spot_convert.runtimes.compatibility import try_runtimes
from spot_convert.runtimes.micro.source import flatbuffer_of, registrations, source_files
from spot_convert.variants.catalog import TFLITE_MICRO
from spot_edge import read_model
from spot_edge.errors import DataError
from spot_edge.model.file import ModelFile, seal, verify

NEEDS = {"arena_bytes": 100_001, "head_bytes": 90_000, "tail_bytes": 10_001, "operators": ["AddConv2D", "AddSoftmax"]}
# Enough of tflite-micro's header to compile the source.
HEADER = """
enum TfLiteStatus { kTfLiteOk, kTfLiteError };
namespace tflite {
template <unsigned int count> struct MicroMutableOpResolver {
  TfLiteStatus AddConv2D() { return kTfLiteOk; }
  TfLiteStatus AddSoftmax() { return kTfLiteOk; }
};
}
"""
PROGRAM = """
#include "spot_model.h"
#include <cstdint>
#include <cstdio>
int main() {
  SpotResolver resolver;
  if (RegisterSpotOperators(resolver) != kTfLiteOk || reinterpret_cast<std::uintptr_t>(kSpotModel) % 16) return 1;
  std::fwrite(kSpotModel, 1, kSpotModelBytes, stdout);
}
"""


@pytest.fixture
def without_tflite_micro(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide tflite-micro, if it is installed."""
    version = metadata.version

    def visible(package: str) -> str:
        if package == TFLITE_MICRO:
            raise metadata.PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(metadata, "version", visible)


def test_operators_have_the_names_of_tflite_micros_methods() -> None:
    assert registrations(operator_names(read_model().content)) == [
        *("AddAdd", "AddConv2D", "AddDepthwiseConv2D", "AddDequantize", "AddDiv", "AddMean", "AddQuantize"),
        "AddSoftmax",
    ]
    odd = {"PADV2": "AddPadV2", "L2_POOL_2D": "AddL2Pool2D", "BATCH_TO_SPACE_ND": "AddBatchToSpaceNd"}
    for kind, name in odd.items():
        assert registrations([kind]) == [name]


@pytest.fixture(scope="module")
def spot(small_file: Callable[[str], Path]) -> ModelFile:
    """A small model file named "spot"."""
    model = read_model(small_file("int8"))
    return verify(seal(flatbuffer_of(model), model.spec._replace(name="spot")), "spot.tflite")


def test_the_source_holds_the_flatbuffer_without_the_zip(spot: ModelFile) -> None:
    content = flatbuffer_of(spot)
    assert spot.content.startswith(content)
    assert spot.content[len(content) :].startswith(b"PK\3\4")
    source = source_files(spot, NEEDS, "1")["spot_model.cc"].decode()
    array = re.search(r"kSpotModel\[\] = \{(.*?)\};", source, re.DOTALL)
    assert array is not None
    assert bytes(int(byte) for byte in array[1].split(",") if byte.strip()) == content
    assert f"kSpotModelBytes = {len(content)};" in source


def test_the_header_has_arena_operators_labels_and_notice() -> None:
    model = read_model()
    header = source_files(model, NEEDS, "1")["spot_model.h"].decode()
    arena = re.search(r"kSpotArenaBytes = (\d+);", header)
    assert arena is not None
    assert int(arena[1]) >= NEEDS["arena_bytes"]
    assert int(arena[1]) % 16 == 0
    assert "MicroMutableOpResolver<2>" in header
    assert "resolver.AddConv2D()" in header
    assert "not a diagnosis" in header
    assert model.id in header
    assert all(f'"{label.label}"' in header for label in model.spec.labels)


def test_any_model_name_becomes_a_valid_identifier() -> None:
    model = read_model()
    content = flatbuffer_of(model)
    renamed = verify(seal(content, model.spec._replace(name="7 classes-2")), "x.tflite")
    files = source_files(renamed, NEEDS, "1")
    assert set(files) == {"_7_classes_2_model.h", "_7_classes_2_model.cc"}
    assert "k7Classes2Model[]" in files["_7_classes_2_model.cc"].decode()


@pytest.mark.skipif(shutil.which("g++") is None, reason="NOT RUN: no g++: the C++ source was not compiled")
def test_the_source_compiles_and_holds_the_model(spot: ModelFile, tmp_path: Path) -> None:
    include = tmp_path / "tensorflow" / "lite" / "micro"
    include.mkdir(parents=True)
    (include / "micro_mutable_op_resolver.h").write_text(HEADER)
    for name, content in source_files(spot, NEEDS, "1").items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "main.cc").write_text(PROGRAM)
    command = ["g++", "-std=c++17", "-Wall", "-Werror", "-I", ".", "main.cc", "spot_model.cc", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "main"], check=True, stdout=subprocess.PIPE).stdout == flatbuffer_of(spot)


@pytest.mark.usefixtures("without_tflite_micro")
def test_a_missing_tflite_micro_is_reported_with_how_to_install_it(small_run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tflite-micro is not installed\. .* pip install .*'\.\[micro\]'"):
        convert_run(small_run, tmp_path / "out", variants=["microcontroller"], log=print)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("without_tflite_micro")
def test_inspect_reports_that_tflite_micro_is_not_installed() -> None:
    content = read_model().content
    *_, micro = try_runtimes(content, read_flatbuffer(content, "x"))
    assert (micro.runtime, micro.runs, micro.untried) == (TFLITE_MICRO, None, "not installed here")


def test_a_slow_runtime_evaluates_all_of_validation_and_samples_of_the_rest(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spot_convert.images._REDUCED", {"calibrate": 5, "train": 20})
    complete = EvaluationImages.of(run.manifest, run.manifest.split("calibrate").items)
    reduced = complete.reduced()
    assert reduced.names["val"] == complete.names["val"]
    assert {split: len(names) for split, names in reduced.names.items()} == {"val": 42, "calibrate": 5, "train": 20}
    assert all(reduced.names[split] <= complete.names[split] for split in reduced.names)
    assert len(reduced.manifest.items) == 67
