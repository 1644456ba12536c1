"""What of the files for microcontrollers needs no tflite-micro; `make check TARGET=micro` does the rest in it."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from spot_convert.checks.parity import operator_names
from spot_convert.images import EvaluationImages
from spot_convert.inspect.graph import read_flatbuffer
from spot_convert.pipeline import convert_run
from spot_convert.runtimes.compatibility import try_runtimes
from spot_convert.runtimes.micro.source import flatbuffer_of, registrations, source_files
from spot_convert.variants.catalog import TFLITE_MICRO
from spot_edge import read_model
from spot_edge.errors import DataError
from spot_edge.model.file import seal, verify

NEEDS = {"arena_bytes": 100_001, "head_bytes": 90_000, "tail_bytes": 10_001, "operators": ["AddConv2D", "AddSoftmax"]}
# Enough of tflite-micro's header to see that the source is C++.
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


def missing(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return True
    return False


without = pytest.mark.skipif(not missing(TFLITE_MICRO), reason="tflite-micro is installed here")


def test_operators_are_registered_under_the_names_of_tflite_micro() -> None:
    assert registrations(operator_names(read_model().content)) == [
        *("AddAdd", "AddConv2D", "AddDepthwiseConv2D", "AddDequantize", "AddDiv", "AddMean", "AddQuantize"),
        "AddSoftmax",
    ]
    odd = {"PADV2": "AddPadV2", "L2_POOL_2D": "AddL2Pool2D", "BATCH_TO_SPACE_ND": "AddBatchToSpaceNd"}
    for kind, name in odd.items():
        assert registrations([kind]) == [name]


def test_the_source_is_the_flatbuffer_without_the_zip() -> None:
    model = read_model()
    content = flatbuffer_of(model)
    assert model.content.startswith(content)
    assert model.content[len(content) :].startswith(b"PK\3\4")
    source = source_files(model, NEEDS, "1")["spot_model.cc"].decode()
    array = re.search(r"kSpotModel\[\] = \{(.*?)\};", source, re.DOTALL)
    assert array is not None
    assert bytes(int(byte) for byte in array[1].split(",") if byte.strip()) == content
    assert f"kSpotModelBytes = {len(content)};" in source


def test_the_header_says_arena_operators_labels_and_notice() -> None:
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


def test_a_name_that_is_no_word_of_c_becomes_one() -> None:
    model = read_model()
    content = flatbuffer_of(model)
    renamed = verify(seal(content, model.spec._replace(name="7 classes-2")), "x.tflite")
    files = source_files(renamed, NEEDS, "1")
    assert set(files) == {"_7_classes_2_model.h", "_7_classes_2_model.cc"}
    assert "k7Classes2Model[]" in files["_7_classes_2_model.cc"].decode()


@pytest.mark.skipif(shutil.which("g++") is None, reason="NOT RUN: no g++ here: the C++ source was not compiled")
def test_the_source_compiles_and_holds_the_model(tmp_path: Path) -> None:
    model = read_model()
    include = tmp_path / "tensorflow" / "lite" / "micro"
    include.mkdir(parents=True)
    (include / "micro_mutable_op_resolver.h").write_text(HEADER)
    for name, content in source_files(model, NEEDS, "1").items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "main.cc").write_text(PROGRAM)
    command = ["g++", "-std=c++17", "-Wall", "-Werror", "-I", ".", "main.cc", "spot_model.cc", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "main"], check=True, stdout=subprocess.PIPE).stdout == flatbuffer_of(model)


@without
def test_without_tflite_micro_the_variant_is_refused_in_one_line(shapes_run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"tflite-micro is not installed here.*pip install 'spot-edge-toolkit\[micro\]'"
    ):
        convert_run(shapes_run, tmp_path / "out", variants=["microcontroller"], log=print)
    assert not (tmp_path / "out").exists()


@without
def test_without_tflite_micro_inspect_says_that_it_was_not_tried() -> None:
    content = read_model().content
    *_, micro = try_runtimes(content, read_flatbuffer(content, "x"))
    assert (micro.runtime, micro.runs, micro.untried) == (TFLITE_MICRO, None, "not installed here")


def test_a_slow_runtime_answers_all_of_validation_and_a_sample_of_the_rest(shapes_run: Path) -> None:
    from spot_convert.run import read_run

    run = read_run(shapes_run)
    whole = EvaluationImages.of(run.manifest, run.manifest.split("calibrate").items)
    few = whole.reduced()
    assert few.names["val"] == whole.names["val"]
    assert few.names["train"] < whole.names["train"] or len(whole.names["train"]) <= 200
    assert "test" not in few.names
    assert sum(map(len, few.names.values())) == len(few.manifest.items)
