"""A model file is read only if all its bytes match its digest."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from spot_edge.errors import ModelError
from spot_edge.model.file import LARGEST, read_model, seal, verify
from spot_edge.model.spec import ImageSpec, Label
from spot_edge.model.spec_json import render_spec

MARK = b"spot-sha256:"

# Loads each file named on the command line; prints the errors, and the interpreter modules that were imported.
LOAD_ALL = """
import json, sys
from spot_edge import Classifier
results = []
for path in sys.argv[1:]:
    try:
        Classifier.load(path)
    except Exception as error:
        results.append([type(error).__name__, str(error)])
    else:
        results.append(["loaded", path])
engines = [name for name in sys.modules if name.split(".")[0] in ("ai_edge_litert", "tflite_runtime", "tensorflow")]
print(json.dumps([results, engines]))
"""


def resealed(flatbuffer: bytes, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A file with any members and a correct digest."""
    archive = io.BytesIO(flatbuffer)
    archive.seek(0, io.SEEK_END)
    with zipfile.ZipFile(archive, "a", compression) as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
        bundle.comment = MARK + b"0" * 64
    return redigested(archive.getvalue())


def redigested(content: bytes) -> bytes:
    return content[:-64] + hashlib.sha256(content[:-76]).hexdigest().encode()


@pytest.fixture
def bad_files(tmp_path: Path, model, flatbuffer) -> dict[Path, str]:
    """Files of every kind that must be rejected, and the error of each."""
    whole, spec = model.content, model.spec
    labels, record = b"".join(f"{label.label}\n".encode() for label in spec.labels), render_spec(spec)
    data = json.loads(record)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    unequal = spec._replace(labels=(*spec.labels[:-1], Label("other", "another")), conformal=None)
    six = spec._replace(labels=spec.labels[:-1], conformal=None)
    contents = {
        "empty": (b"", "empty model file"),
        "random": (np.random.default_rng(1).bytes(5000), "no spot-edge digest"),
        "plain flatbuffer": (flatbuffer, "no spot-edge digest"),
        "half": (whole[: len(whole) // 2], "no spot-edge digest"),
        "flipped": (bytes(flipped), "do not match its digest"),
        "another size": (
            seal(flatbuffer, spec._replace(image=ImageSpec(spec.image.size + 32))),
            "its input is not image",
        ),
        "six labels": (seal(flatbuffer, six), "scores of shape"),
        "labels differ": (
            resealed(flatbuffer, {"labels.txt": labels, "spot.json": render_spec(unequal)}),
            "disagree on the labels",
        ),
        "no labels": (resealed(flatbuffer, {"spot.json": record}), "its archive lacks labels.txt"),
        "no spec": (resealed(flatbuffer, {"labels.txt": labels}), "its archive lacks spot.json"),
        "compressed": (
            resealed(flatbuffer, {"labels.txt": labels, "spot.json": record}, zipfile.ZIP_DEFLATED),
            "compressed",
        ),
        "next schema": (
            resealed(flatbuffer, {"labels.txt": labels, "spot.json": json.dumps(data | {"schema": 2}).encode()}),
            "reads schema 1",
        ),
        "unknown field": (
            resealed(flatbuffer, {"labels.txt": labels, "spot.json": json.dumps(data | {"mood": 1}).encode()}),
            "must be an object with",
        ),
        "no zip": (redigested(flatbuffer + MARK + b"0" * 64), "no zip before the digest|cannot be read"),
        "no flatbuffer": (seal(b"", spec), "not a .tflite file"),
        "another flatbuffer": (seal(b"\x1c\0\0\0TFL3" + bytes(100), spec), ".tflite|subgraphs"),
    }
    files = {}
    for name, (content, why) in contents.items():
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(content)
        files[path] = why
    with (tmp_path / "huge.tflite").open("wb") as huge:
        huge.truncate(LARGEST + 1)
    return files | {tmp_path / "huge.tflite": "larger than 256 MB", tmp_path / "missing.tflite": "No such file"}


def test_every_bad_file_is_refused_before_an_interpreter_is_imported(bad_files: dict[Path, str], python) -> None:
    result = python("-c", LOAD_ALL, *bad_files)
    results, engines = json.loads(result.stdout)
    for (kind, message), path in zip(results, bad_files, strict=True):
        assert kind == "ModelError", (path.name, message)
        assert message.startswith(str(path) + ": "), message
        assert "\n" not in message
    assert engines == []


def test_every_error_says_what_is_wrong(bad_files: dict[Path, str]) -> None:
    for path, why in bad_files.items():
        with pytest.raises(ModelError, match=why):
            read_model(path)


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_model("a\0b")


def test_a_file_cut_anywhere_is_refused(model) -> None:
    size = len(model.content)
    for kept in [
        1,
        75,
        76,
        77,
        1000,
        *np.linspace(1000, size, 40, endpoint=False, dtype=int),
        *range(size - 100, size),
    ]:
        with pytest.raises(ModelError):
            verify(model.content[:kept], "cut")


def test_bytes_after_or_before_it_are_refused(model) -> None:
    for content in (model.content + b"\0", model.content + b"\n", b"\0" + model.content):
        with pytest.raises(ModelError):
            verify(content, "longer")


def test_a_flipped_bit_anywhere_is_refused(model) -> None:
    draws, size = np.random.default_rng(7), len(model.content)
    content = bytearray(model.content)
    for at in [*draws.integers(0, size, 60).tolist(), *range(size - 200, size)]:
        bit = 1 << int(draws.integers(8))
        content[at] ^= bit
        with pytest.raises(ModelError):
            verify(bytes(content), "flipped")
        content[at] ^= bit
    assert verify(bytes(content), "mended").id == model.id


def test_damage_with_a_correct_digest_is_a_model_error_or_harmless(model, flatbuffer) -> None:
    """Damage to the zip or to the flatbuffer's first tables raises nothing but a ModelError."""
    draws, content = np.random.default_rng(8), bytearray(model.content)
    with zipfile.ZipFile(io.BytesIO(model.content)) as bundle:
        unread = bundle.getinfo("embedding.npz")  # 40 kB of the zip that these readers do not parse
    first = unread.header_offset + 30 + len(unread.filename)
    skipped = range(first, first + unread.compress_size)
    places = [at for at in range(len(flatbuffer), len(content) - 76) if at not in skipped]
    refused = 0
    for at in [*draws.choice(places, 80).tolist(), *range(len(content) - 98, len(content) - 76), *range(0, 400, 8)]:
        kept, content[at] = content[at], int(draws.integers(256))
        try:
            verify(redigested(bytes(content)), "sealed damage")
        except ModelError:
            refused += 1
        content[at] = kept
    assert refused > 60


def test_sealing_again_gives_the_same_bytes(model, flatbuffer) -> None:
    with zipfile.ZipFile(io.BytesIO(model.content)) as bundle:
        extra = {name: bundle.read(name) for name in bundle.namelist() if name not in ("labels.txt", "spot.json")}
    assert seal(flatbuffer, model.spec, extra) == seal(flatbuffer, model.spec, extra)
    assert verify(seal(flatbuffer, model.spec, extra), "again").spec == model.spec


def test_extra_members_are_stored_and_covered_by_the_digest(model, flatbuffer) -> None:
    sealed = seal(flatbuffer, model.spec, {"embedding.npz": b"abc"})
    assert verify(sealed, "m").members["embedding.npz"] == b"abc"
    with zipfile.ZipFile(io.BytesIO(sealed)) as bundle:
        assert bundle.read("embedding.npz") == b"abc"
        assert bundle.testzip() is None
    with pytest.raises(ModelError, match="do not match its digest"):
        verify(sealed.replace(b"abc", b"abd"), "m")


def test_a_complete_file_is_read_from_a_path_as_from_the_package(model, tmp_path: Path) -> None:
    path = tmp_path / "copy.tflite"
    path.write_bytes(model.content)
    for name in (path, str(path)):
        copy = read_model(name)
        assert (copy.name, copy.id, copy.spec) == (str(path), model.id, model.spec)


def test_the_id_is_the_digest_of_all_bytes_before_it(model) -> None:
    assert model.id == hashlib.sha256(model.content[:-76]).hexdigest()
    assert model.content[-64:] == model.id.encode()


def test_a_zip_tool_and_a_tflite_reader_find_their_parts(model) -> None:
    with zipfile.ZipFile(io.BytesIO(model.content)) as bundle:
        assert bundle.comment == MARK + model.id.encode()
        assert bundle.testzip() is None
        assert bundle.read("labels.txt").decode().split() == [label.label for label in model.spec.labels]
    assert model.content[4:8] == b"TFL3"
