"""What a path is: `sniff` tells, `expect` insists, and says what to pass instead.

A path may be a file, a folder, or the prefix of a checkpoint, which is not a file itself::

    model.ckpt-100                       the prefix, what every API takes
    model.ckpt-100.index                 V2: the names, shapes and places of tensors
    model.ckpt-100.data-00000-of-00001   V2: their bytes, without any mark of their own
    model.ckpt-100.meta                  the graph
    checkpoint                           text: which prefix is the latest

Contents decide (see `coldframe.formats.content`), names only where contents cannot: data shards.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from coldframe.errors import CorruptError, TruncatedError, WrongFileError
from coldframe.formats import content
from coldframe.formats.content import Kind
from coldframe.formats.files import PathLike, map_file, missing, read_head
from coldframe.records import dataclass

__all__ = ["FileKind", "Kind", "damage", "expect", "find_prefixes", "prefix_of", "sniff"]

_SHARD: Final = re.compile(r"(.+)\.data-\d{5}-of-\d{5}")
_V1_SHARD: Final = re.compile(r"(.+)-\d{5}-of-\d{5}")
# Messages of other programs, which their bytes do not tell apart: by name, and how many folders up the SavedModel is.
_COMPANIONS: Final = {
    "tfhub_module.pb": ("TensorFlow Hub's mark", 0),
    "keras_metadata.pb": ("Keras's own description of the model", 0),
    "saved_model_debug_info.pb": ("where in its program each node was made", 1),
}
_STATE_PATH: Final = re.compile(r'^\s*model_checkpoint_path\s*:\s*(["\'])(.*?)\1', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a path is.

    Attributes:
        kind: the kind.
        path: the path as it was given.
        target: what to open: the prefix of a checkpoint, the file inside a SavedModel's folder; else `path`.
        is_text: whether it is text rather than binary.
        detail: what else can be said, or an empty string.
    """

    kind: Kind
    path: Path
    target: Path
    is_text: bool = False
    detail: str = ""

    def __str__(self) -> str:
        kind = f"{self.kind.value}, as text" if self.is_text and self.kind in _PROTOS else self.kind.value
        return f"{kind} ({self.detail})" if self.detail else kind


_PROTOS: Final = frozenset({Kind.GRAPH_DEF, Kind.META_GRAPH, Kind.SAVED_MODEL, Kind.OBJECT_GRAPH, Kind.ONNX})


def prefix_of(path: PathLike) -> Path:
    """Return the checkpoint prefix that `path`, one of its files or the prefix itself, belongs to."""
    path = Path(path)
    if path.suffix in (".index", ".meta"):
        return path.with_suffix("")
    shard = _SHARD.fullmatch(path.name)
    return path.with_name(shard[1]) if shard else path


def find_prefixes(folder: PathLike) -> list[Path]:
    """Return the prefixes of the V2 checkpoints in `folder`, sorted by name."""
    return sorted(p.with_suffix("") for p in Path(folder).glob("*.index") if p.name != ".index")


def sniff(path: PathLike) -> FileKind:
    """Say what the file, folder or checkpoint prefix `path` is, reading a few KB at most.

    Raises:
        NotFoundError: there is neither a file nor a checkpoint of that name.
        WrongFileError: it is a pipe or a device.
        OSError: the system refuses to read it.
    """
    path = Path(path)
    if path.is_dir():
        found = _folder(path)
        return _prefix(path) or found if found.kind is Kind.FOLDER else found
    if not path.exists():
        found_prefix = _prefix(path)
        if found_prefix is None:
            raise missing(path)
        return found_prefix
    if not path.is_file():  # opening a pipe would wait for a writer
        raise WrongFileError(
            f"`{path}` is of the wrong kind", expected="a file or a folder", found="a pipe or a device"
        )
    if _SHARD.fullmatch(path.name):
        return _shard(path)
    told = content.tell(map_file(path))
    target = path
    if told.kind is Kind.CHECKPOINT:
        target = prefix_of(path)
    elif told.kind is Kind.CHECKPOINT_V1 and (shard := _V1_SHARD.fullmatch(path.name)):
        target = path.with_name(shard[1])
        return FileKind(told.kind, path, target, detail="one of its shards")
    if path.name in _COMPANIONS and not told.is_text and told.kind not in _FIXED_HINTS:
        return FileKind(Kind.COMPANION, path, target, detail=_COMPANIONS[path.name][0])
    return FileKind(told.kind, path, target, told.is_text, told.detail)


def _prefix(path: Path) -> FileKind | None:
    if path.with_name(path.name + ".index").is_file():
        return FileKind(Kind.CHECKPOINT, path, path)
    shards = [
        p for p in path.parent.glob("*-of-*") if p.name.startswith(f"{path.name}-") and _V1_SHARD.fullmatch(p.name)
    ]
    if shards and all(content.tell(map_file(p)).kind is Kind.CHECKPOINT_V1 for p in shards[:1]):
        return FileKind(Kind.CHECKPOINT_V1, path, path, detail=f"{len(shards)} shards")
    return None


def _shard(path: Path) -> FileKind:
    prefix = prefix_of(path)
    has_index = prefix.with_name(prefix.name + ".index").is_file()
    head = content.tell(memoryview(read_head(path, content.HEAD)))
    if head.kind in (Kind.LFS_POINTER, Kind.HTML):
        return FileKind(head.kind, path, path, head.is_text)
    return FileKind(
        Kind.CHECKPOINT, path, prefix, detail="a data shard" if has_index else "a data shard, its index is gone"
    )


def _folder(path: Path) -> FileKind:
    for name, kind in (
        ("saved_model.pb", Kind.SAVED_MODEL),
        ("saved_model.pbtxt", Kind.SAVED_MODEL),
        ("saved_model.cpb", Kind.SAVED_MODEL_CPB),
    ):
        if (path / name).is_file():
            return FileKind(kind, path, path / name, is_text=name.endswith("txt"), detail="a folder")
    state = path / "checkpoint"
    if state.is_file() and content.tell(memoryview(read_head(state, content.HEAD))).kind is Kind.CHECKPOINT_STATE:
        return FileKind(Kind.CHECKPOINT_DIR, path, path)
    prefixes = find_prefixes(path)
    return FileKind(Kind.CHECKPOINT_DIR if prefixes else Kind.FOLDER, path, path)


def expect(path: PathLike, *kinds: Kind) -> FileKind:
    """Return what `path` is if that is one of `kinds`.

    Raises:
        WrongFileError: it is something else. The error says what, and what to pass instead.
        NotFoundError: as `sniff`.
    """
    found = sniff(path)
    if found.kind in kinds:
        return found
    raise WrongFileError(
        f"`{found.path}` is of the wrong kind",
        expected=" or ".join(k.value for k in kinds),
        found=found,
        hint=_hint(found, frozenset(kinds)),
    )


_CHECKPOINTS: Final = frozenset({Kind.CHECKPOINT, Kind.CHECKPOINT_V1, Kind.CHECKPOINT_DIR})

_FIXED_HINTS: Final = {
    Kind.LFS_POINTER: "the file itself is kept in Git LFS: run `git lfs pull` in its repository",
    Kind.HTML: "a page was saved instead of the file it offers: download again, from the page's download link",
    Kind.EMPTY: "was the download or the copy interrupted?",
    Kind.GZIP: "unpack it first",
    Kind.ZIP: "unpack it first",
    Kind.TAR: "unpack it first",
    Kind.SAVED_MODEL_CPB: "save the model again in the unchunked format",
}


def _hint(found: FileKind, wanted: frozenset[Kind]) -> str:
    if hint := _FIXED_HINTS.get(found.kind):
        return hint
    if found.kind in _CHECKPOINTS:
        return _checkpoint_hint(found, wanted)
    if found.kind is Kind.CHECKPOINT_STATE:
        prefix = _latest(found.path)
        what = f"the checkpoint it names, `{prefix}`" if prefix else "a checkpoint's prefix"
        return f"pass {what}" + ("" if wanted & _CHECKPOINTS else ", or its graph (.meta)")
    if found.kind is Kind.META_GRAPH and wanted & _CHECKPOINTS:
        return f"it holds the graph; the checkpoint's prefix is `{prefix_of(found.path)}`"
    if found.kind is Kind.META_GRAPH:
        return f"it holds a graph without weights: use it together with its checkpoint `{prefix_of(found.path)}`"
    if found.kind is Kind.SAVED_MODEL and wanted & _CHECKPOINTS:
        folder = found.path if found.path.is_dir() else found.path.parent
        return f"its checkpoint is `{folder / 'variables' / 'variables'}`"
    if found.kind is Kind.SAVED_MODEL:
        return "load it as a SavedModel, or freeze it"
    if found.kind is Kind.GRAPH_DEF and wanted & _CHECKPOINTS:
        return "the weights of a frozen graph are inside it: load it as a graph"
    if found.kind is Kind.GRAPH_DEF and Kind.SAVED_MODEL in wanted:
        return f"a graph is in a file of that name: load `{found.path}` itself"
    if found.kind in (Kind.COMPANION, Kind.FINGERPRINT):
        _, up = _COMPANIONS.get(found.path.name, ("", 0))
        return f"pass the SavedModel's folder `{found.path.parents[up]}`"
    if found.kind is Kind.UNKNOWN and found.path.is_file():
        return f"its first bytes are `{read_head(found.path, 8).hex(' ')}`"
    return ""


def _checkpoint_hint(found: FileKind, wanted: frozenset[Kind]) -> str:
    if wanted & _CHECKPOINTS:
        return f"pass the prefix `{found.target}`" if found.target != found.path else ""
    meta = found.target.with_name(found.target.name + ".meta")
    graph = f": it is in `{meta}`" if found.kind is not Kind.CHECKPOINT_DIR and meta.is_file() else ""
    return f"a checkpoint holds values; pass the graph they belong to{graph}"


def _latest(state: Path) -> Path | None:
    found = _STATE_PATH.search(read_head(state, content.HEAD).decode(errors="replace"))
    return state.parent / found[2] if found and found[2] else None


def damage(data: bytes | memoryview, error: CorruptError, *, where: str) -> CorruptError:
    """Return `error` made more precise: a binary message that ends too early is a `TruncatedError` with the offset."""
    at, lacking = content.end_of_fields(memoryview(data))
    if lacking:
        return TruncatedError(
            "file ends too early",
            where=where,
            expected=f"{lacking} more bytes for the field at byte {at:#x}",
            found=f"{len(data)} bytes in all",
            hint="was the download or the copy interrupted?",
        )
    if at == len(data):
        at_text = "damage inside a nested message"
    else:
        at_text = f"no field at byte {at:#x}"
    return CorruptError(error.what, where=where, expected=error.expected, found=f"{at_text} of {len(data)}")
