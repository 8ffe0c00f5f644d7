"""`inspect`: what any TensorFlow file or folder is, and what is in it. Loads no engine."""

from __future__ import annotations

import os
from pathlib import Path

from coldframe.checkpoint.roles import Role
from coldframe.errors import NotFoundError
from coldframe.formats import sniff
from coldframe.formats.checkpoint_state import exists
from coldframe.formats.content import Kind
from coldframe.formats.stores import is_url
from coldframe.runtime.inspection.report import (
    CheckpointFact,
    EndFact,
    FileFact,
    GraphFact,
    ListedCheckpoint,
    Report,
    SignatureFact,
    StateFact,
    TensorFact,
)

_ADVICE = {
    Kind.LFS_POINTER: "the file itself is kept in Git LFS: run `git lfs pull` in its repository",
    Kind.HTML: "a page was saved instead of the file it offers: download again, from the page's download link",
    Kind.SAVED_MODEL_CPB: "coldframe does not read chunked SavedModels: save it again unchunked",
    Kind.EMPTY: "was the download or the copy interrupted?",
    Kind.GZIP: "unpack it first",
    Kind.ZIP: "unpack it first",
    Kind.TAR: "unpack it first",
}


def inspect(path: str | os.PathLike[str]) -> Report:
    """Say what a file or folder is, and what is in it.

    Names, shapes, dtypes and sizes are read, not weights: a checkpoint of many gigabytes takes milliseconds.

    Args:
        path: a checkpoint's prefix or one of its files, a folder, a state file, a graph (``.pb``, ``.pbtxt``,
            ``.meta``), a SavedModel, or anything else: what is no TensorFlow file is named too. Or a URL that fsspec
            knows.

    Returns:
        The report; print it, or take its `Report.to_json`.

    Raises:
        NotFoundError: there is no such file; near names are suggested.
        CorruptError: it is damaged.
        UnsupportedFormatError: its format is too new.
    """
    if is_url(path):
        from coldframe.runtime.inspection.remote import inspect_url

        return inspect_url(os.fspath(path), _inspect)
    return _inspect(path)


def _inspect(path: str | os.PathLike[str]) -> Report:
    # Imported by kind: a checkpoint needs neither the op table nor the graph room.
    found = _sniff(path)
    if found.kind in (Kind.CHECKPOINT, Kind.CHECKPOINT_V1):
        from coldframe.runtime.inspection.checkpoints import report_checkpoint

        return report_checkpoint(found)
    if found.kind in (Kind.CHECKPOINT_DIR, Kind.CHECKPOINT_STATE):
        from coldframe.runtime.inspection.checkpoints import report_folder

        return report_folder(found)
    if found.kind in (Kind.GRAPH_DEF, Kind.META_GRAPH, Kind.SAVED_MODEL):
        from coldframe.runtime.inspection.graphs import report_graph

        return report_graph(found)
    size = found.path.stat().st_size if found.path.is_file() else None
    files = (FileFact(found.path, size),) if size is not None else ()
    notes = (_ADVICE[found.kind],) if found.kind in _ADVICE else ()
    return Report(found.path, found.kind.name.lower(), str(found), files, notes=notes)


def _sniff(path: str | os.PathLike[str]) -> sniff.FileKind:
    try:
        return sniff.sniff(path)
    except NotFoundError:
        # State files name a sharded V1 checkpoint by a pattern: `model.ckpt-?????-of-00002`.
        if not exists(os.fspath(path)):
            raise
        return sniff.FileKind(Kind.CHECKPOINT_V1, Path(path), Path(path))


__all__ = [
    "CheckpointFact",
    "EndFact",
    "FileFact",
    "GraphFact",
    "ListedCheckpoint",
    "Report",
    "Role",
    "SignatureFact",
    "StateFact",
    "TensorFact",
    "inspect",
]
