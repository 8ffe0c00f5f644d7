"""What the bytes of a file are, told from the bytes alone.

Most formats begin with a magic number. Protocol buffers do not, so their kinds are told by field numbers and types::

    GraphDef       1 NodeDef{1 name, 2 op, ...}   2 library   3 varint   4 versions   5 debug info
    MetaGraphDef   1 MetaInfoDef{...}             2 GraphDef  3 saver    4 collection 5 signature
    SavedModel     1 varint                       2 MetaGraphDef
    ONNX           1 varint                       2..4 text   7 graph    8 opset
    Fingerprint    1 varint                       2 varint
    object graph   1 TrackableObject{1 child{1 varint, 2 name}, ...}

Only the first `FIELDS` fields and `DEPTH` levels are looked at, in place: telling kinds apart costs the same for a file
of any size.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from typing import Final

from coldframe.formats import wire
from coldframe.records import dataclass

FIELDS: Final = 64
HEAD: Final = 4096
TABLE_MAGIC: Final = bytes.fromhex("57fb808b247547db")
RIEGELI_MAGIC: Final = bytes.fromhex("83af70d10d884a3f")  # hash of the first block's header
_GZIP_MAGIC: Final = b"\x1f\x8b"


class Kind(enum.Enum):
    """Kinds of files and folders; the value is how a sentence names one."""

    GRAPH_DEF = "a graph (GraphDef)"
    META_GRAPH = "a meta graph (MetaGraphDef)"
    SAVED_MODEL = "a SavedModel"
    SAVED_MODEL_CPB = "a chunked SavedModel (.cpb)"
    FINGERPRINT = "the fingerprint of a SavedModel"
    COMPANION = "a file that lies beside a SavedModel"
    CHECKPOINT = "a checkpoint"
    CHECKPOINT_V1 = "a checkpoint in the V1 format"
    CHECKPOINT_STATE = "a checkpoint state file"
    CHECKPOINT_DIR = "a folder of checkpoints"
    OBJECT_GRAPH = "an object graph (TrackableObjectGraph)"
    TFLITE = "a TensorFlow Lite model"
    ONNX = "an ONNX model"
    HDF5 = "an HDF5 file (Keras weights or model)"
    KERAS = "a Keras model (.keras)"
    SAFETENSORS = "a safetensors file"
    NPY = "a numpy array (.npy)"
    NPZ = "a numpy archive (.npz)"
    EVENTS = "an event file"
    TFRECORD = "a file of records (TFRecord)"
    LFS_POINTER = "a Git LFS pointer"
    HTML = "a web page"
    GZIP = "a gzip file"
    ZIP = "a zip archive"
    TAR = "a tar archive"
    TEXT = "text of some other kind"
    FOLDER = "a folder without TensorFlow files"
    EMPTY = "an empty file"
    UNKNOWN = "of no known kind"


@dataclass(frozen=True, slots=True)
class Content:
    """What some bytes are.

    Attributes:
        kind: the kind.
        is_text: whether they are text rather than binary.
        detail: what else can be said, or an empty string.
    """

    kind: Kind
    is_text: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    type: int
    start: int
    end: int  # behind the payload; beyond the data where the field is cut off


def tell(data: memoryview) -> Content:
    """Say what `data`, a whole file, is. Never raises on any bytes."""
    if not data:
        return Content(Kind.EMPTY)
    head = bytes(data[:HEAD])
    return _by_magic(data, head) or _text(head) or _records(data, head) or _protobuf(data) or Content(Kind.UNKNOWN)


_MAGIC: Final = [
    (0, RIEGELI_MAGIC, Kind.SAVED_MODEL_CPB),
    (0, b"\x89HDF\r\n\x1a\n", Kind.HDF5),
    (0, b"\x93NUMPY", Kind.NPY),
    (4, b"TFL3", Kind.TFLITE),
    (0, _GZIP_MAGIC, Kind.GZIP),
    (257, b"ustar", Kind.TAR),
    (0, b"version https://git-lfs", Kind.LFS_POINTER),
]


def _by_magic(data: memoryview, head: bytes) -> Content | None:
    for at, magic, kind in _MAGIC:
        if head.startswith(magic, at):
            return Content(kind, is_text=kind is Kind.LFS_POINTER)
    if head.startswith(b"PK\x03\x04"):
        return _zip(head)
    if head.startswith(b"PK\x05\x06"):
        return Content(Kind.ZIP, detail="it has no members")
    if len(data) >= 48 and data[-8:] == TABLE_MAGIC:
        return _table(head)
    size = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= size <= len(data) - 8 and head[9:64].lstrip()[:1] in (b'"', b"}"):
        return Content(Kind.SAFETENSORS)
    return None


def _zip(head: bytes) -> Content:
    """Tell zip archives by the name of their first member."""
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")].decode(errors="replace")
    if name.endswith(".npy"):
        return Content(Kind.NPZ)
    if name in ("metadata.json", "config.json", "model.weights.h5"):
        return Content(Kind.KERAS)
    torch = name.endswith(("/data.pkl", "/version", "/.format_version"))
    return Content(Kind.ZIP, detail=f"its first member is `{name}`" + (", as PyTorch writes" if torch else ""))


def _table(head: bytes) -> Content:
    """Tell V1 from V2 by the first entry: shared 0, key size 0, value size, then the header message.

    A V2 header begins with the number of shards (``08``), a V1 header with its table of slices (``0a``).
    """
    try:
        _, at = wire.decode_varint(head, 2, len(head))
    except ValueError:
        at = len(head)
    first = head[at : at + 1]
    if head[:2] == b"\0\0" and first == b"\x0a":
        return Content(Kind.CHECKPOINT_V1)
    return Content(Kind.CHECKPOINT, detail="its index")


# --- text ---

_TEXT_KINDS: Final = [
    (Kind.GRAPH_DEF, {"node", "library", "versions", "version", "debug_info"}),
    (
        Kind.META_GRAPH,
        {"meta_info_def", "graph_def", "saver_def", "collection_def", "signature_def", "asset_file_def"},
    ),
    (Kind.SAVED_MODEL, {"saved_model_schema_version", "meta_graphs"}),
    (Kind.CHECKPOINT_STATE, {"model_checkpoint_path", "all_model_checkpoint_paths"}),
    (Kind.OBJECT_GRAPH, {"nodes"}),
    (Kind.ONNX, {"ir_version", "opset_import", "producer_name"}),
]
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_FIRST_NAME: Final = re.compile(r"(?:\s|#[^\n]*\n)*([A-Za-z_]\w*)\s*[:{<]")


def _text(head: bytes) -> Content | None:
    if _CONTROLS.search(head):
        return None
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        if len(head) < HEAD or e.start < HEAD - 4:
            return None
        text = head[: e.start].decode("utf-8-sig")  # the cut fell inside a character
    stripped = text.lstrip()
    if stripped.startswith("<"):
        is_html = re.match(r"<(!doctype\s+html|html|head|body)\b", stripped, re.IGNORECASE) is not None
        return Content(Kind.HTML if is_html else Kind.TEXT, is_text=True, detail="" if is_html else "XML")
    if stripped.startswith(("{", "[")):
        return Content(Kind.TEXT, is_text=True, detail="JSON")
    found = _FIRST_NAME.match(text)
    for kind, names in _TEXT_KINDS if found else []:
        if found and found[1] in names:
            return Content(kind, is_text=True)
    return Content(Kind.TEXT, is_text=True) if stripped else None


# --- records ---


def _records(data: memoryview, head: bytes) -> Content | None:
    """Tell TFRecord framing: ``u64 size, masked crc of it, payload, crc``; events begin with a double (tag 09)."""
    if len(head) < 12 or any(head[6:8]):  # no file has a record of 2**48 bytes
        return None
    from coldframe.formats import crc32c  # here, since graphs begin otherwise

    if crc32c.masked(head[:8]) != int.from_bytes(head[8:12], "little"):
        return None
    return Content(Kind.EVENTS if head[12:13] == b"\x09" else Kind.TFRECORD)


# --- protocol buffers ---


def _fields(data: memoryview, start: int, end: int, limit: int = FIELDS) -> Iterator[_Field]:
    """Yield the fields of a message; the last may reach beyond `end`. Raise `ValueError` where it is no message."""
    at = start
    for _ in range(limit):
        if at >= end:
            return
        tag, at = wire.decode_varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 2**29:
            raise ValueError("field number")
        begin = at
        if kind == 0:
            _, at = wire.decode_varint(data, at, end)
        elif kind == 2:
            size, begin = wire.decode_varint(data, at, end)
            at = begin + size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("wire type")
        yield _Field(number, kind, begin, at)


def _inner(data: memoryview, field: _Field, limit: int = FIELDS) -> list[_Field]:
    """Return the fields inside a length-delimited field; none where it holds no whole message."""
    try:
        return list(_fields(data, field.start, min(field.end, len(data)), limit))
    except ValueError:
        return []


def _string(data: memoryview, field: _Field) -> str | None:
    """Return the printable text in a field, None where it is something else."""
    if field.type != 2 or field.end > len(data) or field.end - field.start > HEAD:
        return None
    try:
        text = bytes(data[field.start : field.end]).decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def _protobuf(data: memoryview) -> Content | None:
    found: list[_Field] = []
    try:
        found.extend(_fields(data, 0, len(data)))
    except ValueError:
        if not found:
            return None
    cut = "it is cut short" if found and found[-1].end > len(data) else ""
    kind = _kind_of(data, found)
    return Content(kind, detail=cut) if kind else None


def _kind_of(data: memoryview, found: list[_Field]) -> Kind | None:
    by_number: dict[int, _Field] = {}
    for field in found:
        by_number.setdefault(field.number, field)
    types = {n: f.type for n, f in by_number.items()}
    if types.get(1) == 0:
        return _kind_with_version(types)
    repeats = sum(f.number == 1 for f in found) > 1
    if types.get(1) == 2 and (kind := _kind_by_first(data, by_number, repeats)):
        return kind
    if types == {2: 2} and _is_meta_graph(data, by_number[2]):
        return Kind.SAVED_MODEL  # a version of zero is not written
    if types.get(2) == 2 and _is_graph(data, by_number[2]):
        return Kind.META_GRAPH
    if 1 not in types and _only(types, {2: 2, 3: 0, 4: 2, 5: 2}) and (4 in types or 2 in types):
        versions = _inner(data, by_number[4]) if 4 in types else []
        return Kind.GRAPH_DEF if all(f.type == 0 or f.number == 3 for f in versions) else None
    return None


def _kind_with_version(types: dict[int, int]) -> Kind | None:
    if types.get(7) == 2 and _only(types, {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}):
        return Kind.ONNX
    if types.get(2) == 0 and _only(types, {1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 2, 7: 2}):
        return Kind.FINGERPRINT
    return Kind.SAVED_MODEL if types in ({1: 0, 2: 2}, {1: 0}) else None


def _kind_by_first(data: memoryview, by_number: dict[int, _Field], repeats: bool) -> Kind | None:
    types = {n: f.type for n, f in by_number.items()}
    if _is_node(data, by_number[1]) and _only(types, {1: 2, 2: 2, 3: 0, 4: 2, 5: 2}):
        return Kind.GRAPH_DEF
    if not repeats and _only(types, dict.fromkeys(range(1, 8), 2)) and _is_meta_info(data, by_number):
        return Kind.META_GRAPH
    if types == {1: 2} and _is_object(data, by_number[1]):
        return Kind.OBJECT_GRAPH
    return None


def _only(types: dict[int, int], allowed: dict[int, int]) -> bool:
    return all(allowed.get(n) == t for n, t in types.items())


def _is_node(data: memoryview, field: _Field) -> bool:
    inner = {f.number: f for f in reversed(_inner(data, field))}
    if 1 not in inner or not _only({n: f.type for n, f in inner.items()}, dict.fromkeys(range(1, 8), 2)):
        return False
    op = _string(data, inner[2]) if 2 in inner else "NoOp"
    return bool(_string(data, inner[1])) and op is not None and re.fullmatch(r"[\w.>/:-]+", op) is not None


def _is_graph(data: memoryview, field: _Field) -> bool:
    inner = {f.number: f for f in reversed(_inner(data, field))}
    if 1 in inner:
        return _is_node(data, inner[1])
    return bool(inner) and _only({n: f.type for n, f in inner.items()}, {2: 2, 3: 0, 4: 2, 5: 2})


def _is_meta_info(data: memoryview, by_number: dict[int, _Field]) -> bool:
    """Whether field 1 is a MetaInfoDef, and what follows it fits a MetaGraphDef."""
    inner = {f.number: f.type for f in reversed(_inner(data, by_number[1]))}
    if not _only(inner, {1: 2, 2: 2, 3: 2, 4: 2, 5: 2, 6: 2, 7: 0, 8: 2}):
        return False
    if 2 in by_number:
        return _is_graph(data, by_number[2]) or by_number[2].start == by_number[2].end
    return len(by_number) > 1 and bool({2, 4, 5} & inner.keys())


def _is_meta_graph(data: memoryview, field: _Field) -> bool:
    inner = {f.number: f for f in reversed(_inner(data, field))}
    return 1 in inner and inner[1].type == 2 and 2 in inner and _is_meta_info(data, inner)


def _is_object(data: memoryview, field: _Field) -> bool:
    inner = _inner(data, field)
    if not inner or not _only({f.number: f.type for f in inner}, dict.fromkeys(range(1, 6), 2)):
        return False
    for child in inner:
        if child.number == 1 and not _only({f.number: f.type for f in _inner(data, child)}, {1: 0, 2: 2}):
            return False
    return True


def end_of_fields(data: memoryview) -> tuple[int, int]:
    """Walk all top-level fields of a message.

    Returns:
        The offset of the first field that is not whole, or the size of `data`; and how many bytes that field lacks,
        0 where it is not cut off but malformed.
    """
    at = 0
    try:
        for field in _fields(data, 0, len(data), limit=len(data)):
            if field.end > len(data):
                return at, field.end - len(data)
            at = field.end
    except ValueError:
        pass  # where it stopped is the answer
    return at, 0
