"""The files in a zip that only stores them, as `seal` and `numpy.savez` do: the standard module is slow to import.

A model file: a plain .tflite, a zip behind it, and a digest over every byte of both.

    flatbuffer | zip of labels.txt, spot.json (and more) | archive comment "spot-sha256:<64 hex digits>"

The digest is checked before anything else is looked at, and the verified bytes are what the interpreter gets. It finds
damage, not malice.
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

from spot_edge.errors import ModelError
from spot_edge.files import read_file
from spot_edge.model.flatbuffer import Signature, Tensor, read_signature
from spot_edge.model.spec import ModelSpec, parse_spec, render_spec

__all__ = ["EMBEDDED", "ModelFile", "read_model", "read_stored", "seal", "verify"]

_END, _ENTRY = 22, 46  # bytes of a zip's end record and of a directory entry


def read_stored(content: bytes, end: int | None = None) -> dict[str, bytes]:
    """The files in the zip whose end record ends at `end` of `content` (default: at its end).

    ValueError, with a reason to be told after a name, for what is no such zip.
    """
    try:
        record = struct.unpack_from("<4s4H2LH", content, (len(content) if end is None else end) - _END)
        mark, count, at = record[0], record[4], record[6]
        if mark != b"PK\5\6":
            raise ValueError("no zip in front of its digest" if end else "no zip")
        members: dict[str, bytes] = {}
        held = 0
        for _ in range(count):
            entry = struct.unpack_from("<4s4B4HL2L5H2L", content, at)
            if entry[0] != b"PK\1\2":
                raise ValueError("its zip cannot be read")
            if entry[6] != 0 or entry[10] != entry[11]:
                raise ValueError("its zip is compressed, which MediaPipe cannot read")
            names, extras, comments, start = entry[12], entry[13], entry[14], entry[18]
            key = content[at + _ENTRY : at + _ENTRY + names].decode()
            inner, skipped = struct.unpack_from("<2H", content, start + 26)
            first = start + 30 + inner + skipped
            held += entry[11]
            if held > len(content):  # files that share their bytes would unfold without end
                raise ValueError("its zip holds more than its bytes")
            if key in members:  # of which one reader takes the first, another the last
                raise ValueError("its zip holds a name twice")
            members[key] = content[first : first + entry[11]]
            if len(members[key]) != entry[11]:
                raise ValueError("its zip cannot be read")
            at += _ENTRY + names + extras + comments
    except (struct.error, OverflowError, UnicodeDecodeError):  # OverflowError: offsets beyond 2 GB on 32 bits
        raise ValueError("its zip cannot be read") from None
    return members


EMBEDDED = "spot-int8.tflite"
LARGEST = 256 * 1024 * 1024
_MARK = b"spot-sha256:"
_COMMENT = len(_MARK) + 64


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A verified model file: its bytes, its digest (the model's id), and what it says about itself."""

    name: str
    id: str
    content: bytes = field(repr=False)
    spec: ModelSpec = field(repr=False)
    signature: Signature = field(repr=False)
    members: dict[str, bytes] = field(repr=False)  # the files in the zip


def read_model(path: str | os.PathLike[str] | None = None) -> ModelFile:
    """The model in the file at `path`, or the embedded one; ModelError for any file that is not whole and ours."""
    if path is None:
        name, content = EMBEDDED, _embedded()
    else:
        name = os.fspath(path)
        try:
            content = read_file(Path(path), LARGEST)
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
            reason = getattr(error, "strerror", None) or error
            raise ModelError(f"{name}: model file cannot be read: {reason}") from None
    return verify(content, name)


def verify(content: bytes, name: str) -> ModelFile:
    """`content` as a model file, digest first, then the zip, `spot.json` and the graph's inputs and outputs."""
    if not content:
        raise ModelError(f"{name}: empty model file")
    if content[-_COMMENT : -_COMMENT + len(_MARK)] != _MARK:
        raise ModelError(
            f"{name}: no spot-edge digest at its end: a truncated file, or not made by 'spot-edge convert'"
        )
    digest = hashlib.sha256(memoryview(content)[:-_COMMENT]).hexdigest()
    if content[-64:] != digest.encode():
        raise ModelError(f"{name}: damaged: its bytes do not match its digest; copy or install it again")
    try:
        members = read_stored(content, len(content) - _COMMENT)
    except ValueError as error:
        raise ModelError(f"{name}: {error}") from None
    try:
        spec, labels = parse_spec(members["spot.json"], name), members["labels.txt"]
    except KeyError as error:
        raise ModelError(f"{name}: its zip lacks {error.args[0]}") from None
    if labels != _labels_text(spec):
        raise ModelError(f"{name}: labels.txt and spot.json name different labels")
    signature = read_signature(content, name)
    _check_shapes(signature, spec, name)
    return ModelFile(name, digest, content, spec, signature, members)


def seal(flatbuffer: bytes, spec: ModelSpec, extra: dict[str, bytes] | None = None) -> bytes:
    """`flatbuffer` with its zip and digest appended: a complete model file, the same bytes for the same input."""
    import io
    import zipfile

    members = {"labels.txt": _labels_text(spec), "spot.json": render_spec(spec)} | (extra or {})
    archive = io.BytesIO()
    archive.write(flatbuffer)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_STORED) as bundle:  # stored: MediaPipe reads no other kind
        for member, content in members.items():
            info = zipfile.ZipInfo(member)  # dated 1980, so that bytes do not depend on the clock
            info.create_system = 3
            bundle.writestr(info, content)
        bundle.comment = _MARK + b"0" * 64
    body = archive.getvalue()[:-_COMMENT]
    return body + _MARK + hashlib.sha256(body).hexdigest().encode()


def _embedded() -> bytes:
    try:
        return (Path(__file__).parent.parent / "models" / EMBEDDED).read_bytes()
    except FileNotFoundError:
        raise ModelError("this build of spot-edge carries no model: name one with --model") from None


def _labels_text(spec: ModelSpec) -> bytes:
    return "".join(f"{label.label}\n" for label in spec.labels).encode()


def _check_shapes(signature: Signature, spec: ModelSpec, name: str) -> None:
    size, classes = spec.image.size, len(spec.labels)
    if signature.inputs != {"image": Tensor("uint8", (1, size, size, 3))}:
        raise ModelError(f"{name}: its input is not image uint8[1,{size},{size},3]")
    outputs = signature.outputs
    if set(outputs) != {"scores", "evidence", "embedding"}:
        raise ModelError(f"{name}: its outputs are not scores, evidence and embedding")
    if any(tensor.dtype != "float32" for tensor in outputs.values()):
        raise ModelError(f"{name}: its outputs are not all float32")
    if outputs["scores"].shape != (1, classes):
        raise ModelError(f"{name}: scores of shape {outputs['scores'].shape} for {classes} labels")
    evidence, embedding = outputs["evidence"].shape, outputs["embedding"].shape
    if len(evidence) != 4 or evidence[0] != 1 or evidence[3] != classes or len(embedding) != 2 or embedding[0] != 1:
        raise ModelError(f"{name}: evidence {evidence} and embedding {embedding} are not of our shapes")
