"""The kit for embedders: an imitation app, written apart from the exporter, makes each usual mistake on purpose."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from spot_bench.drawings import draw_lesion, draw_shape
from spot_convert.kit import cli, export
from spot_convert.kit.check import check
from spot_convert.kit.results import read_results
from spot_convert.kit.vectors import read_kit
from spot_edge import read_model
from spot_edge.errors import CheckError, DataError, OutputError

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit of the embedded model."""
    out = tmp_path_factory.mktemp("made") / "kit"
    done = _run(cli.export_kit, "--out", out)
    assert done.exit_code == 0, done.output
    return out


def _run(command: Any, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


# --- the imitation app ------------------------------------------------------------------------------------------------


def crop_to_4_3(picture: Pixels) -> Pixels:
    height, width = picture.shape[:2]
    if 1.2 <= width / height <= 1.5:
        return picture
    if width / height > 4 / 3:
        return centred(picture, -(-4 * height // 3), height)
    return centred(picture, width, -(-3 * width // 4))


def centred(picture: Pixels, width: int, height: int) -> Pixels:
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


def smooth(picture: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def bilinear(picture: Pixels, width: int, height: int, centre: float = 0.5) -> Pixels:
    """From the four nearest pixels: by their centres as OpenCV and tf.image do it, or by their corners as MediaPipe."""

    def places(new: int, old: int) -> tuple[Any, Any, Any]:
        at = np.clip((np.arange(new) + centre) * old / new - centre, 0, old - 1)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, old - 1), at - low

    top, bottom, v = places(height, picture.shape[0])
    left, right, u = places(width, picture.shape[1])
    values, v, u = picture.astype(np.float64), v[:, None, None], u[None, :, None]
    upper = values[top][:, left] * (1 - u) + values[top][:, right] * u
    lower = values[bottom][:, left] * (1 - u) + values[bottom][:, right] * u
    return np.round(upper * (1 - v) + lower * v).astype(np.uint8)


def nearest(picture: Pixels, width: int, height: int) -> Pixels:
    rows = (np.arange(height) + 0.5) * picture.shape[0] / height
    columns = (np.arange(width) + 0.5) * picture.shape[1] / width
    return picture[rows.astype(int)][:, columns.astype(int)]


def area(picture: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))


def to_square(resize: Callable[[Pixels, int, int], Pixels]) -> Callable[[Pixels, int], Pixels]:
    return lambda picture, size: resize(picture, size, size)


def right_way(picture: Pixels, size: int) -> Pixels:
    return smooth(crop_to_4_3(picture), size, size)


def stock_way(picture: Pixels, size: int) -> Pixels:
    return bilinear(picture, size, size)


def mediapipe_way(picture: Pixels, size: int) -> Pixels:
    return bilinear(picture, size, size, centre=0.0)


def letterbox(picture: Pixels, size: int) -> Pixels:
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    small = bilinear(picture, round(width * scale), round(height * scale))
    canvas = np.zeros((size, size, 3), np.uint8)
    top, left = (size - small.shape[0]) // 2, (size - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def centre_crop(picture: Pixels, size: int) -> Pixels:
    side = min(picture.shape[:2])
    return bilinear(centred(picture, side, side), size, size)


def wrong_strides(picture: Pixels, size: int) -> Pixels:
    return right_way(picture.reshape(picture.shape[1], picture.shape[0], 3), size)


def with_alpha(tensor: Pixels) -> Pixels:
    opaque = np.full((*tensor.shape[:2], 4), 255, np.uint8)
    opaque[..., :3] = tensor
    return np.frombuffer(opaque.tobytes()[: tensor.size], np.uint8).reshape(tensor.shape)


def imagenet(tensor: Pixels) -> NDArray[np.float32]:
    return (tensor.astype(np.float32) / 255 - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])


def saturated(values: NDArray[Any]) -> Pixels:
    return np.clip(values, 0, 255).astype(np.uint8)


def softmax(values: NDArray[Any]) -> NDArray[Any]:
    return np.exp(values) / np.exp(values).sum()


@dataclass(frozen=True)
class App:
    """How an imitation app prepares pictures, what it does to the tensor, and what it reads."""

    prepare: Callable[[Pixels, int], Pixels] = right_way
    change: Callable[[Pixels], Pixels] = lambda tensor: tensor
    read: Callable[[dict[str, NDArray[Any]]], NDArray[Any]] = lambda outputs: outputs["scores"]
    report: Callable[[list[NDArray[Any]]], list[NDArray[Any]]] = lambda scores: scores
    noise: float = 0.0
    says: dict[str, Any] = field(default_factory=dict)
    digests: bool = False
    means: bool = False
    kernels: OpResolverType = OpResolverType.AUTO

    def run(self, kit: Path, part: str = "vectors") -> dict[str, Any]:
        """The results file's content."""
        random, scores, entries = np.random.default_rng(7), [], []
        for name, tensor, outputs in _answers(kit, part, self.prepare, self.change, self.kernels):
            entry: dict[str, Any] = {"image": name}
            if self.digests:
                entry["input_sha256"] = hashlib.sha256(tensor.tobytes()).hexdigest()
            if self.means:
                entry["input_mean"] = tensor.mean(axis=(0, 1)).tolist()
            noise = random.uniform(-self.noise, self.noise, outputs["scores"].shape)
            scores.append(self.read({**outputs, "scores": outputs["scores"] + noise}).ravel())
            entries.append(entry)
        for entry, reported in zip(entries, self.report(scores), strict=True):
            entry["scores"] = [float(value) for value in reported]
        return {"schema": 1, "platform": "an imitation", **self.says, "results": entries}


@cache
def _answers(
    kit: Path,
    part: str,
    prepare: Callable[[Pixels, int], Pixels],
    change: Callable[[Pixels], Pixels],
    kernels: OpResolverType,
) -> list[tuple[str, Pixels, dict[str, NDArray[Any]]]]:
    """Each picture's name, the tensor that is fed, and what the network answers."""
    file = str(kit / "spot-int8.tflite")
    engine = Interpreter(model_path=file, num_threads=1, experimental_op_resolver_type=kernels)
    network = engine.get_signature_runner()
    size = network.get_input_details()["image"]["shape"][1]
    answers = []
    for path in sorted((kit / part).iterdir()):
        picture = np.asarray(Image.open(path))
        tensor = np.ascontiguousarray(change(prepare(picture, size) if part == "vectors" else picture))
        answers.append((f"{part}/{path.name}", tensor, network(image=tensor[np.newaxis])))
    return answers


def verdict(kit: Path, tmp_path: Path, *runs: dict[str, Any]) -> dict[str, Any]:
    """What check-kit says in JSON about these results; its exit code must say the same."""
    record = {**runs[0], "results": [entry for run in runs for entry in run["results"]]}
    (tmp_path / "results.json").write_text(json.dumps(record))
    done = _run(cli.check_kit, kit, tmp_path / "results.json", "--json")
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["conforms"] == (done.exit_code == 0)
    assert said["conforms"] or isinstance(done.exception, CheckError)
    return said


def mistakes(said: dict[str, Any]) -> list[str]:
    (finding,) = said["findings"]
    return [cause["mistake"] for cause in finding["causes"]]


PREPARED = {
    "stock": App(stock_way),
    "whole-area": App(to_square(area)),
    "contract-plain": App(lambda picture, size: bilinear(crop_to_4_3(picture), size, size)),
    "whole-nearest": App(to_square(nearest)),
    "bars-plain": App(letterbox),
    "square-plain": App(centre_crop),
    "whole-antialias": App(to_square(smooth)),
    "strides": App(wrong_strides),
}
FED = {
    "bgr": lambda x: x[..., ::-1],
    "planes": lambda x: np.moveaxis(x, 2, 0).reshape(x.shape),
    "rgba": with_alpha,
    "signed": lambda x: (x.astype(np.int16) - 128).astype(np.int8).view(np.uint8),
    "wrapped": lambda x: imagenet(x).astype(np.int32).astype(np.uint8),
    "doubled": lambda x: saturated((x.astype(np.float32) / 127.5 - 1) * 255),
    "normalized": lambda x: saturated(imagenet(x) * 255),
    "mirrored": np.fliplr,
    "flipped": np.flipud,
    "turned-180": lambda x: np.flipud(np.fliplr(x)),
    "turned-left": lambda x: np.fliplr(x).transpose(1, 0, 2),
    "turned-right": lambda x: np.flipud(x).transpose(1, 0, 2),
    "transposed": lambda x: np.swapaxes(x, 0, 1),
}
DARK = {
    "divided by 255": lambda x: (x.astype(np.float32) / 255).astype(np.uint8),
    "divided by 255 and rounded": lambda x: np.rint(x.astype(np.float32) / 255).astype(np.uint8),
    "scaled to -1..1": lambda x: saturated(x.astype(np.float32) / 127.5 - 1),
    "normalized twice": lambda x: saturated(imagenet(saturated(imagenet(x)))),
    "never filled": np.zeros_like,
}
READ = {
    "logits": lambda o: o["evidence"].mean(axis=(1, 2)),
    "softmax-twice": lambda o: softmax(o["scores"]),
    "bytes": lambda o: np.clip(np.rint(o["scores"] * 255), 0, 255),
    "percent": lambda o: 100 * o["scores"],
    "ranked": lambda o: np.sort(o["scores"][0])[::-1],
    "shifted": lambda o: np.concatenate([[0.0], o["scores"][0, :-1]]),
    "output-evidence": lambda o: o["evidence"],
    "output-embedding": lambda o: o["embedding"],
}
NOISE = pytest.mark.parametrize("noise", [0.0, 0.01])


@pytest.mark.parametrize("part", ["inputs", "vectors"])
@NOISE
def test_an_app_without_a_mistake_conforms(kit: Path, tmp_path: Path, part: str, noise: float) -> None:
    said = verdict(kit, tmp_path, App(noise=noise, digests=True, means=True).run(kit, part))
    assert said["conforms"]
    assert mistakes(said) == []


def test_other_kernels_conform_and_their_mistakes_are_named(kit: Path, tmp_path: Path) -> None:
    app = App(kernels=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    said = verdict(kit, tmp_path, app.run(kit, "inputs"))
    assert said["conforms"]
    assert 0.001 < said["findings"][0]["largest"] < said["tolerance"]["score"] / 2
    for mistake in ("bgr", "mirrored"):
        assert mistakes(verdict(kit, tmp_path, replace(app, change=FED[mistake]).run(kit, "inputs"))) == [mistake]


@NOISE
@pytest.mark.parametrize("mistake", PREPARED)
def test_wrong_resizing_is_named(kit: Path, tmp_path: Path, mistake: str, noise: float) -> None:
    said = verdict(kit, tmp_path, replace(PREPARED[mistake], noise=noise).run(kit))
    if (mistake, noise) == ("contract-plain", 0.01):  # moves the embedded file's scores less than other kernels do
        assert mistakes(said) in ([mistake], [])
        assert said["findings"][0]["rms"] <= said["tolerance"]["rms"]
    else:
        assert mistakes(said) == [mistake]


@NOISE
@pytest.mark.parametrize("resized", [None, right_way, stock_way, mediapipe_way])
@pytest.mark.parametrize("mistake", FED)
def test_a_wrong_tensor_is_named_after_either_resizing(
    kit: Path, tmp_path: Path, mistake: str, resized: Any, noise: float
) -> None:
    app = App(resized or right_way, FED[mistake], noise=noise)
    said = verdict(kit, tmp_path, app.run(kit, "vectors" if resized else "inputs"))
    assert mistakes(said) == [mistake]


@NOISE
@pytest.mark.parametrize("how", DARK)
def test_a_nearly_black_picture_is_named_however_it_came_about(
    kit: Path, tmp_path: Path, how: str, noise: float
) -> None:
    assert mistakes(verdict(kit, tmp_path, App(change=DARK[how], noise=noise).run(kit))) == ["dark"]


@NOISE
@pytest.mark.parametrize("prepare", [right_way, stock_way])
@pytest.mark.parametrize("mistake", READ)
def test_a_wrong_reading_is_named_after_either_resizing(
    kit: Path, tmp_path: Path, mistake: str, prepare: Any, noise: float
) -> None:
    said = verdict(kit, tmp_path, App(prepare, read=READ[mistake], noise=noise).run(kit))
    assert mistakes(said) == [mistake]


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


def test_the_same_answer_that_is_none_of_the_kits_is_named(kit: Path, tmp_path: Path) -> None:
    app = App(report=lambda scores: [np.array([0.3, 0.0, 0.2, 0.3, 0.0, 0.2, 0.0])] * len(scores))
    assert mistakes(verdict(kit, tmp_path, app.run(kit))) == ["constant"]


@NOISE
def test_scores_in_another_order_are_named_with_it(kit: Path, tmp_path: Path, noise: float) -> None:
    app = App(report=lambda scores: [row[[5, 4, 2, 3, 1, 0, 6]] for row in scores], noise=noise)
    said = verdict(kit, tmp_path, app.run(kit))
    assert mistakes(said) == ["order"]
    assert "nv, mel, bkl" in said["findings"][0]["causes"][0]["what"]


def test_labels_sorted_alphabetically_are_named_where_the_model_has_them_in_another_order(
    kit: Path, tmp_path: Path
) -> None:
    known = replace(read_kit(kit), labels=("nv", "mel", "bkl", "vasc", "df", "bcc", "akiec"))
    order = sorted(range(7), key=known.labels.__getitem__)
    run = App(report=lambda scores: [row[order] for row in scores]).run(kit)
    (tmp_path / "results.json").write_text(json.dumps(run))
    (finding,) = check(known, read_results(tmp_path / "results.json", known)).findings
    assert [cause.mistake for cause in finding.causes] == ["sorted-labels"]


def test_labels_beside_the_scores_put_them_in_order(kit: Path, tmp_path: Path) -> None:
    run = App(report=lambda scores: [row[::-1] for row in scores]).run(kit)
    labels = (kit / "labels.txt").read_text().split()
    for entry in run["results"]:
        entry["labels"] = labels[::-1]
    assert verdict(kit, tmp_path, run)["conforms"]


def test_preparing_what_is_prepared_already_is_named(kit: Path, tmp_path: Path) -> None:
    app = App(change=lambda tensor: right_way(tensor, len(tensor)))
    assert mistakes(verdict(kit, tmp_path, app.run(kit, "inputs"))) == ["again"]


def test_a_stock_client_conforms_where_it_says_that_it_is_one(kit: Path, tmp_path: Path) -> None:
    assert verdict(kit, tmp_path, App(mediapipe_way, says={"resize": "stock"}).run(kit))["conforms"]
    app = App(stock_way, says={"resize": "stock"})
    said = verdict(kit, tmp_path, app.run(kit), app.run(kit, "inputs"))
    assert said["conforms"]
    assert [finding["part"] for finding in said["findings"]] == ["inputs", "vectors"]
    assert mistakes(verdict(kit, tmp_path, replace(app, change=np.fliplr).run(kit))) == ["mirrored"]


def test_right_inputs_and_wrong_pictures_are_told_apart(kit: Path, tmp_path: Path) -> None:
    said = verdict(kit, tmp_path, App().run(kit, "inputs"), App(centre_crop).run(kit))
    assert [(finding["part"], finding["conforms"]) for finding in said["findings"]] == [
        ("inputs", True),
        ("vectors", False),
    ]


def test_another_model_file_is_named_by_its_id(kit: Path, tmp_path: Path) -> None:
    said = verdict(kit, tmp_path, App(says={"model": "0" * 64}).run(kit))
    assert not said["conforms"]
    assert said["other_model"] == "0" * 64
    assert verdict(kit, tmp_path, App(says={"model": read_model().id}).run(kit))["conforms"]


def test_wild_answers_to_the_right_input_point_to_the_file(kit: Path, tmp_path: Path) -> None:
    wild = np.random.default_rng(1).dirichlet(np.ones(7), 11)
    app = App(report=lambda scores: list(wild))
    said = verdict(kit, tmp_path, app.run(kit, "inputs"))
    assert mistakes(said) == []
    assert said["findings"][0]["nearest"] is not None
    said = verdict(kit, tmp_path, replace(app, digests=True).run(kit, "inputs"))
    assert "another model file" in said["findings"][0]["remarks"][0]


def test_what_was_fed_decides_where_the_scores_do_not(kit: Path, tmp_path: Path) -> None:
    wild = np.random.default_rng(1).dirichlet(np.ones(7), 11)
    app = App(change=FED["bgr"], report=lambda scores: list(wild), digests=True)
    (remark,) = verdict(kit, tmp_path, app.run(kit, "inputs"))["findings"][0]["remarks"]
    assert "byte for byte" in remark
    assert "red and blue" in remark
    lying = replace(App(), change=lambda tensor: tensor, means=True).run(kit, "inputs")
    for entry in lying["results"]:
        entry["input_mean"] = entry["input_mean"][::-1]
    assert not verdict(kit, tmp_path, lying)["conforms"]


def test_the_report_says_it_in_words(kit: Path, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(App(stock_way, FED["bgr"]).run(kit)))
    done = _run(cli.check_kit, kit, tmp_path / "results.json")
    assert "red and blue are swapped: BGR where RGB is wanted; besides, the resizing is a stock client's" in done.stdout
    assert "to mend: feed RGB" in done.stdout
    assert str(done.exception).endswith("a stock client's")
    assert "\n" not in str(done.exception)
    wild = App(
        report=lambda scores: [np.full(7, 1 / 7) + 0.1 * (row > 0.5) for row in scores], says={"model": "f" * 64}
    )
    (tmp_path / "results.json").write_text(json.dumps(wild.run(kit)))
    done = _run(cli.check_kit, kit, tmp_path / "results.json")
    assert "another file: its id is ffffffffffff" in done.stdout
    assert "none of the usual mistakes explains the answers" in done.stdout
    assert "the nearest, still" in done.stdout
    (tmp_path / "results.json").write_text(json.dumps(App().run(kit)))
    assert "vectors  11 pictures: conform\n" in _run(cli.check_kit, kit, tmp_path / "results.json").stdout


def test_input_means_of_no_usual_mistake_are_remarked_upon(kit: Path, tmp_path: Path) -> None:
    run = App().run(kit, "inputs")
    for entry in run["results"]:
        entry["input_mean"] = [300, -50, 0]
    assert "of no usual mistake" in verdict(kit, tmp_path, run)["findings"][0]["remarks"][0]


# --- the results file -------------------------------------------------------------------------------------------------


def _spoil(record: dict[str, Any], **first: Any) -> dict[str, Any]:
    return {**record, "results": [{**record["results"][0], **first}, *record["results"][1:]]}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda r: {**r, "schema": 2}, '"schema": 1'),
        (lambda r: [r], '"schema": 1'),
        (lambda r: {**r, "results": []}, "list of answers"),
        (lambda r: {**r, "model": 7}, '"model"'),
        (lambda r: {**r, "resize": "fast"}, '"resize"'),
        (lambda r: {**r, "results": r["results"][1:]}, r"no answer to inputs/01-.* \(1 of 11 inputs are missing\)"),
        (lambda r: {**r, "results": [*r["results"], r["results"][0]]}, "answered twice"),
        (lambda r: {**r, "results": ["x"]}, r"results\[0\]: must be an object"),
        (lambda r: _spoil(r, image="inputs/cat.png"), "'inputs/cat.png' is no picture of this kit"),
        (lambda r: _spoil(r, scores=[0.5, 0.5]), "2 scores for 7 labels"),
        (lambda r: _spoil(r, scores=[float("nan")] * 7), "NaN"),
        (lambda r: _spoil(r, scores=[10**400] * 7), "NaN or infinity"),
        (lambda r: _spoil(r, scores=["0.5"] * 7), "list of numbers"),
        (lambda r: _spoil(r, scores=[0.0] * 1280), "different lengths: 7, 1280"),
        (lambda r: _spoil(r, labels=["mel", "nv"]), '"labels" must be all of akiec'),
        (lambda r: _spoil(r, input_sha256="abc"), "64 hexadecimal"),
        (lambda r: _spoil(r, input_mean=[1.0]), "three numbers"),
    ],
)
def test_a_results_file_that_cannot_be_used_is_refused(kit: Path, tmp_path: Path, spoil: Any, said: str) -> None:
    names = sorted(path.name for path in (kit / "inputs").iterdir())
    record = {"schema": 1, "results": [{"image": f"inputs/{name}", "scores": [1 / 7] * 7} for name in names]}
    (tmp_path / "results.json").write_text(json.dumps(spoil(record)))
    with pytest.raises(DataError, match=said):
        read_results(tmp_path / "results.json", read_kit(kit))


def test_no_results_file_and_no_json_are_refused(kit: Path, tmp_path: Path) -> None:
    known = read_kit(kit)
    with pytest.raises(DataError, match="cannot be read"):
        read_results(tmp_path / "none.json", known)
    (tmp_path / "results.json").write_bytes(b"\xff{")
    with pytest.raises(DataError, match="not JSON"):
        read_results(tmp_path / "results.json", known)


# --- the kit ----------------------------------------------------------------------------------------------------------


def test_the_kit_holds_what_an_embedder_needs(kit: Path) -> None:
    model = read_model()
    assert (kit / "spot-int8.tflite").read_bytes() == model.content
    assert (kit / "labels.txt").read_text().split() == [label.label for label in model.spec.labels]
    assert model.spec.notice in (kit / "LICENSE").read_text()
    assert "CC BY-NC" in (kit / "LICENSE").read_text()
    assert (kit / "vectors.json").stat().st_size < 1_000_000
    record = json.loads((kit / "vectors.json").read_text())
    assert record["model"]["id"] == model.id == (kit / "spot-int8.tflite").read_bytes()[-64:].decode()
    shapes = {(image["width"], image["height"]) for image in record["images"]}
    size = model.spec.image.size
    assert (size, size) in shapes
    assert any(width < height for width, height in shapes)
    assert any(width == height != size for width, height in shapes)
    assert len(record["images"]) >= 8
    readme = (kit / "README.md").read_text()
    assert model.id in readme
    assert "$" not in readme


def test_the_expected_figures_are_those_of_an_app_of_our_own_writing(kit: Path) -> None:
    record = json.loads((kit / "vectors.json").read_text())
    stock = record["tolerance"]["score"]  # one grey level of rounding apart, as kernels are
    for way, app, tolerance in (("spot-edge", App(digests=True), 2e-5), ("stock", App(stock_way), stock)):
        answers = {entry["image"]: entry for entry in app.run(kit)["results"]}
        for image in record["images"]:
            answer = answers[image["image"]]
            assert answer["scores"] == pytest.approx(image["answers"][way]["scores"], abs=tolerance)
            if way == "spot-edge":
                assert answer["input_sha256"] == image["answers"][way]["input_sha256"]
                picture = np.asarray(Image.open(kit / image["input"]))
                assert hashlib.sha256(picture.tobytes()).hexdigest() == answer["input_sha256"]


def test_a_picture_that_was_changed_or_lost_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _small_kit(tmp_path / "kit", monkeypatch)
    (path,) = (made / "vectors").glob("1-*")
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DataError, match="not the picture that the kit was made with"):
        read_kit(made)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read_kit(made)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "not a kit"), ("{", "not JSON"), ("[]", "not what"), ('{"schema":2}', "schema 2")]
)
def test_a_folder_that_is_no_kit_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "vectors.json").write_text(content)
    with pytest.raises(DataError, match=said):
        read_kit(tmp_path)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (_small_kit(tmp_path / name, monkeypatch) for name in ("a", "b"))
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) == 9
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_folder_in_use_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        export.export_kit(read_model(), tmp_path)
    with pytest.raises(OutputError, match="exists already"):
        export.export_kit(read_model(), tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_export_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "write_whole", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _small_kit(tmp_path / "kit", monkeypatch)
    assert list(tmp_path.iterdir()) == []


def _small_kit(out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kit of two quickly drawn pictures."""
    pictures = {"1-a.png": draw_lesion(1, 64, 48), "2-b.png": draw_shape("circle", 2, 60, 80)}
    monkeypatch.setattr(export, "draw_pictures", lambda size: pictures)
    return export.export_kit(read_model(), out)
