"""The checks reject broken files, and accept good ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spot_bench.data.predictions import Predictions
from spot_convert.checks.parity import Parity, check_graph, check_outputs, check_size
from spot_convert.modelfile.assembly import append_tail
from spot_convert.modelfile.graph import pack, unpack
from spot_convert.runtimes.compatibility import check_operators
from spot_convert.variants.catalog import VARIANTS
from spot_edge import read_model
from spot_edge.errors import CheckError

VAR_HANDLE = 142


def test_parity_is_measured_and_its_bounds_are_enforced() -> None:
    reference = np.array([[0.9, 0.1], [0.2, 0.8]])
    parity = Parity.between(reference + np.array([[0.002, -0.002], [0, 0]]), reference)
    assert (parity.images, parity.agreement) == (2, 1)
    assert (parity.largest, parity.moved) == pytest.approx((0.002, 0.001))
    parity.require("x", largest=0.003, moved=0.002, agreement=1.0)
    for largest, moved, agreement in ((0.001, 0.002, 1), (0.003, 0.0009, 1), (0.003, 0.002, 1.1)):
        with pytest.raises(CheckError, match=r"differ by up to 0\.002"):
            parity.require("x", largest=largest, moved=moved, agreement=agreement)


def test_permuted_classes_fail_parity_however_many_there_are() -> None:
    reference = np.full((40, 40), 0.1 / 39)
    np.fill_diagonal(reference, 0.9)
    variant = VARIANTS["int8"]
    bounds = variant.max_difference, variant.max_shift, variant.min_agreement
    Parity.between(reference, reference).require("x", *bounds)
    with pytest.raises(CheckError, match="0 % of the images keep their top class"):
        Parity.between(np.roll(reference, 1, axis=1), reference).require("x", *bounds)


def test_nan_scores_fail_parity() -> None:
    with pytest.raises(CheckError):
        Parity.between(np.array([[np.nan, 1.0]]), np.array([[0.0, 1.0]])).require("x", 1.0, 1.0, 0.0)


def predictions(values: np.ndarray) -> Predictions:
    rows = np.arange(len(values))
    return Predictions(("a",), rows * 0, values, values, rows.astype(str), rows.astype(str))


@pytest.mark.parametrize(
    ("values", "message"),
    [([[np.nan], [1.0]], "contain NaN or infinity"), ([[0.5], [0.5]], "are the same for every image")],
)
def test_outputs_without_information_are_rejected(values: list[list[float]], message: str) -> None:
    check_outputs(predictions(np.array([[0.5], [0.4]])), "x")
    with pytest.raises(CheckError, match=message):
        check_outputs(predictions(np.array(values)), "x")


def test_a_float_body_is_not_accepted_as_an_integer_one(small_file: Callable[[str], Path]) -> None:
    check_graph(read_model(small_file("int8")).content, "x", integer=True)
    content = read_model(small_file("float32")).content
    check_graph(content, "x", integer=False)
    with pytest.raises(CheckError, match="computes in float"):
        check_graph(content, "x", integer=True)


def test_a_file_without_its_weights_is_rejected() -> None:
    check_size(b"0" * 4_000_000, 1_000_000, (4, 4), "x")
    with pytest.raises(CheckError, match="has 190000 bytes"):
        check_size(b"0" * 190_000, 2_000_000, (4, 4), "x")
    with pytest.raises(CheckError, match="has 6000000 bytes"):
        check_size(b"0" * 6_000_000, 1_000_000, (4, 4), "x")


def test_a_body_that_has_scores_already_gets_no_second_tail(small_file: Callable[[str], Path]) -> None:
    with pytest.raises(CheckError, match="evidence and embedding"):
        append_tail(read_model(small_file("int8")).content, 3, 1.0, b"")


def test_resource_variables_are_rejected(small_file: Callable[[str], Path]) -> None:
    model = unpack(read_model(small_file("float32")).content)
    model.operatorCodes[0].builtinCode = VAR_HANDLE
    with pytest.raises(CheckError, match="VAR_HANDLE"):
        check_graph(pack(model), "x", integer=False)


def test_operators_that_tflite_runtime_lacks_are_rejected_for_it_alone(small_file: Callable[[str], Path]) -> None:
    model = unpack(read_model(small_file("int8")).content)
    check_operators(pack(model), "x", "tflite-runtime")
    model.operatorCodes[0].version = 99
    check_operators(pack(model), "x", "ai-edge-litert")
    with pytest.raises(CheckError, match=r"x: tflite-runtime cannot run \w+ version 99"):
        check_operators(pack(model), "x", "tflite-runtime")
