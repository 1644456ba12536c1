"""Layer by layer against the float32 baseline."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from files_by_hand import (
    EMBEDDED,
    SIZE,
    Codes,
    Made,
    Types,
    chain,
    chain_weights,
    errors,
    made_for_classes,
    one_pooling,
    record,
    run,
)

from spot_bench.data.drawn import draw_lesion, encode_jpeg
from spot_convert.inspect.inputs import input_images
from spot_edge.errors import ModelError


def test_a_file_matches_itself_exactly(write: Callable[[bytes], Path]) -> None:
    path = write(chain(chain_weights(), int8=False))
    found = record(path, "--layers", "--against", path)
    assert [(each["rms"], each["sqnr_db"]) for each in errors(found)] == [(0, None)] * 5
    assert found["against"]["worst"] == []
    assert any("gets grey levels x as x/127.5-1" in note for note in found["against"]["notes"])
    assert "No layer differs." in run(path, "--layers", "--against", path).output


def test_a_shifted_layer_has_exactly_that_error_and_bias(write: Callable[[bytes], Path]) -> None:
    weights, shift = chain_weights(), 0.25
    plain, moved = (chain(weights, int8=False, shift=(0, 0, each, 0, 0)) for each in (0, shift))
    found = errors(record(write(moved), "--layers", "--against", write(plain)))
    values = np.concatenate(input_images(SIZE, ())).astype(np.float64) / 127.5 - 1
    for each in weights[:3]:
        values = values @ each[:, 0, 0].T
    rms = np.sqrt((values**2).mean())
    assert [each["rms"] for each in found[:2]] == [0, 0]
    assert found[2]["rms"] == pytest.approx(shift / rms, rel=1e-4)
    assert found[2]["bias"] == pytest.approx(shift / rms, rel=1e-4)
    assert found[2]["sqnr_db"] == pytest.approx(20 * np.log10(rms / shift), abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "scale", "fed", "largest"),
    [(Types.UINT8, 1 / 255, r"\(x-0\)\*0.003922", 1e-6), (Types.INT8, 1 / 127.5, "x/127.5-1", 0.02)],
)
def test_the_baseline_gets_the_values_that_a_quantized_input_stands_for(
    kind: int, scale: float, fed: str, largest: float, write: Callable[[bytes], Path]
) -> None:
    weights = chain_weights()
    baseline = chain(weights, int8=False)
    model = schema.ModelT.InitFromPackedBuf(baseline, 0)
    made = Made()
    made.model, made.graph = model, model.subgraphs[0]
    (floats,), outputs = made.graph.inputs, made.graph.outputs
    pixels = made.tensor("pixels", [1, SIZE, SIZE, 3], kind, scales=[scale])
    made.operator(Codes.DEQUANTIZE, [pixels], floats, version=2)
    made.graph.operators.insert(0, made.graph.operators.pop())
    found = record(write(made.bytes([pixels], outputs)), "--layers", "--against", write(baseline))
    assert max(each["rms"] for each in errors(found)) <= largest
    assert re.search(f"as {fed}$", found["against"]["notes"][-1])


def test_an_int8_layer_is_compared_in_real_values(write: Callable[[bytes], Path]) -> None:
    shape, step, zero = [1, SIZE, SIZE, 3], 0.01, -20
    own, baseline = Made(), Made()
    fed = own.tensor("image", shape)
    small, kept = (own.tensor(name, shape, Types.INT8, scales=[step]) for name in ("small", "kept"))
    for place in (small, kept):
        own.graph.tensors[place].quantization.zeroPoint[:] = zero
    given = own.tensor("given", shape)
    own.operator(Codes.QUANTIZE, [fed], small)
    own.operator(Codes.RELU, [small], kept, version=2)
    own.operator(Codes.DEQUANTIZE, [kept], given, version=2)
    other, result = baseline.tensor("image", shape), baseline.tensor("result", shape)
    baseline.operator(Codes.RELU, [other], result)
    contents = own.bytes([fed], [given]), baseline.bytes([other], [result])
    (found,) = errors(record(write(contents[0]), "--layers", "--against", write(contents[1])))
    rms = np.sqrt((np.maximum(np.concatenate(input_images(SIZE, ())) / 127.5 - 1, 0) ** 2).mean())
    assert 0.1 * step / rms < found["rms"] < 0.5 * step / rms  # half a step at most, some at zero exactly


def test_a_layer_whose_weights_were_changed_stands_out(write: Callable[[bytes], Path]) -> None:
    weights = chain_weights()
    baseline = write(chain(weights, int8=False))
    sound = [
        each["sqnr_db"] for each in errors(record(write(chain(weights, int8=True)), "--layers", "--against", baseline))
    ]
    assert min(sound) > 25  # eight bits
    changed = write(chain([*weights[:3], weights[3] * np.float32(1.3), weights[4]], int8=True))
    found = [each["sqnr_db"] for each in errors(record(changed, "--layers", "--against", baseline))]
    assert found[:3] == pytest.approx(sound[:3])
    assert found[3] == pytest.approx(20 * np.log10(1 / 0.3), abs=0.5)
    assert "Worst: layer" in run(changed, "--layers", "--against", baseline).output


def test_named_images_replace_drawn_ones(write: Callable[[bytes], Path], tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(encode_jpeg(draw_lesion(seed=99, width=80, height=60)))
    weights = chain_weights()
    own, baseline = write(chain(weights, int8=True)), write(chain(weights, int8=False))
    drawn, named = (record(own, "--layers", "--against", baseline, *more) for more in ((), ("--image", photo)))
    assert (drawn["against"]["images"], drawn["against"]["drawn"]) == (8, True)
    assert (named["against"]["images"], named["against"]["drawn"]) == (1, False)
    assert errors(drawn) != errors(named)


def test_other_files_are_rejected_as_baselines(write: Callable[[bytes], Path]) -> None:
    own = write(chain(chain_weights(), int8=True))
    cases = {
        "the weights differ": write(chain(chain_weights(seed=1), int8=False)),
        "takes uint8": write(made_for_classes()),
        r"its input is \[1, \d+, \d+, 3\], but": EMBEDDED,
        "only 0 of 5 weighted layers": write(one_pooling()),
    }
    for reason, other in cases.items():
        done = run(own, "--layers", "--against", other)
        assert isinstance(done.exception, ModelError), reason
        assert re.search(reason, str(done.exception)), done.exception
        assert "\n" not in str(done.exception)
    done = run(EMBEDDED, "--layers", "--against", EMBEDDED)
    assert "its layer Conv1_1 is int8" in str(done.exception)


def test_layers_of_a_real_int8_file_are_near_the_baseline(small_file: Callable[[str], Path]) -> None:
    own, baseline = small_file("int8"), small_file("float32")
    found = record(own, "--layers", "--against", baseline)
    weighted = {layer["index"] for layer in found["layers"] if layer["kind"].endswith("CONV_2D")}
    measured = {each["index"]: each for each in errors(found)}
    assert len(weighted) == 10
    assert weighted <= set(measured)
    assert all(0 < measured[index]["rms"] < 0.4 for index in weighted)
    assert measured[min(weighted)]["rms"] < 0.02
    assert len(found["against"]["worst"]) == 3
