"""Read, verify and write model files: a .tflite, followed by a zip and a digest over every byte of both.

    flatbuffer | zip of labels.txt, spot.json (and more) | archive comment "spot-sha256:<64 hex digits>"

The digest is checked first, and the interpreter gets the verified bytes. It finds damage, not malice.
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass, field

from spot_edge.errors import ModelError
from spot_edge.files import read_file
from spot_edge.model.flatbuffer import Signature, Tensor, read_signature
from spot_edge.model.spec import ModelSpec
from spot_edge.model.spec_json import parse_spec, render_spec

__all__ = ["EMBEDDED", "ModelFile", "read_model", "read_stored", "seal", "verify"]

_END, _ENTRY = 22, 46  # bytes of a zip's end record and of an entry in its directory


def read_stored(content: bytes, end: int | None = None) -> dict[str, bytes]:
    """Return the members of an uncompressed zip that ends at `end` of `content` (default: at its end).

    This replaces the standard module, which is slow to import. Raises ValueError with the reason if it is no such zip.
    """
    try:
        record = struct.unpack_from("<4s4H2LH", content, (len(content) if end is None else end) - _END)
        mark, count, at = record[0], record[4], record[6]
        if mark != b"PK\5\6":
            raise ValueError("corrupt archive: no zip before the digest" if end else "not a zip archive")
        members: dict[str, bytes] = {}
        held = 0
        for _ in range(count):
            entry = struct.unpack_from("<4s4B4HL2L5H2L", content, at)
            if entry[0] != b"PK\1\2":
                raise ValueError("corrupt archive: its directory cannot be read")
            if entry[6] != 0 or entry[10] != entry[11]:
                raise ValueError("its archive is compressed, which MediaPipe cannot read")
            names, extras, comments, start = entry[12], entry[13], entry[14], entry[18]
            key = content[at + _ENTRY : at + _ENTRY + names].decode()
            inner, skipped = struct.unpack_from("<2H", content, start + 26)
            first = start + 30 + inner + skipped
            held += entry[11]
            if held > len(content):  # entries that overlap could expand without limit
                raise ValueError("corrupt archive: its entries exceed the file's size")
            if key in members:  # readers disagree on which one counts
                raise ValueError("corrupt archive: two entries have the same name")
            members[key] = content[first : first + entry[11]]
            if len(members[key]) != entry[11]:
                raise ValueError("corrupt archive: its directory cannot be read")
            at += _ENTRY + names + extras + comments
    except (struct.error, OverflowError, UnicodeDecodeError):  # OverflowError: offsets beyond 2 GB on 32 bits
        raise ValueError("corrupt archive: its directory cannot be read") from None
    return members


EMBEDDED = "spot-int8.tflite"
LARGEST = 256 * 1024 * 1024
_MARK = b"spot-sha256:"
_COMMENT = len(_MARK) + 64


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A verified model file: its bytes, its digest (which is the model's id), and its metadata."""

    name: str
    id: str
    content: bytes = field(repr=False)
    spec: ModelSpec = field(repr=False)
    signature: Signature = field(repr=False)
    members: dict[str, bytes] = field(repr=False)  # the files in the zip


def read_model(path: str | os.PathLike[str] | None = None) -> ModelFile:
    """Read and verify the model file at `path` (default: the embedded one). Raises ModelError if anything is wrong."""
    if path is None:
        name, content = EMBEDDED, _embedded()
    else:
        name = os.fspath(path)
        try:
            content = read_file(path, LARGEST)
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
            reason = getattr(error, "strerror", None) or error
            raise ModelError(f"{name}: model file cannot be read: {reason}") from None
    return verify(content, name)


def verify(content: bytes, name: str) -> ModelFile:
    """Verify `content`: first the digest, then the archive, `spot.json`, and the graph's inputs and outputs."""
    if not content:
        raise ModelError(f"{name}: empty model file")
    if content[-_COMMENT : -_COMMENT + len(_MARK)] != _MARK:
        raise ModelError(f"{name}: no spot-edge digest at its end: truncated, or not made by 'spot-edge convert'")
    digest = hashlib.sha256(memoryview(content)[:-_COMMENT]).hexdigest()
    if content[-64:] != digest.encode():
        raise ModelError(f"{name}: damaged: its bytes do not match its digest. Copy or install it again")
    try:
        members = read_stored(content, len(content) - _COMMENT)
    except ValueError as error:
        raise ModelError(f"{name}: {error}") from None
    try:
        spec, labels = parse_spec(members["spot.json"], name), members["labels.txt"]
    except KeyError as error:
        raise ModelError(f"{name}: its archive lacks {error.args[0]}") from None
    if labels != _labels_text(spec):
        raise ModelError(f"{name}: labels.txt and spot.json disagree on the labels")
    signature = read_signature(content, name)
    _check_shapes(signature, spec, name)
    return ModelFile(name, digest, content, spec, signature, members)


def seal(flatbuffer: bytes, spec: ModelSpec, extra: dict[str, bytes] | None = None) -> bytes:
    """Append archive and digest to `flatbuffer`, which makes it a model file. Equal input gives equal bytes."""
    import io
    import zipfile

    members = {"labels.txt": _labels_text(spec), "spot.json": render_spec(spec)} | (extra or {})
    archive = io.BytesIO()
    archive.write(flatbuffer)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_STORED) as bundle:  # MediaPipe reads only stored entries
        for member, content in members.items():
            info = zipfile.ZipInfo(member)  # dated 1980, so the bytes do not depend on the clock
            info.create_system = 3
            bundle.writestr(info, content)
        bundle.comment = _MARK + b"0" * 64
    body = archive.getvalue()[:-_COMMENT]
    return body + _MARK + hashlib.sha256(body).hexdigest().encode()


def _embedded() -> bytes:
    try:
        return read_file(os.path.join(os.path.dirname(__file__), "..", "models", EMBEDDED), LARGEST)
    except FileNotFoundError:
        raise ModelError("this build of spot-edge has no embedded model: pass one with --model") from None


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
        raise ModelError(f"{name}: evidence {evidence} and embedding {embedding} have unexpected shapes")
