"""Writing a checkpoint from others: the part that every tool shares.

::

    sources ─► Output(name, dtype, shape, pieces) ... ─► write ─► <destination>.{data-*, index}, perhaps .meta

A tool says which tensors the new checkpoint has, and where the chunks of each come from; one chunk is in memory at a
time. The new checkpoint is there as a whole or not at all. Sources are never changed, and never written over.
"""

from __future__ import annotations

import functools
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from coldframe import dtypes
from coldframe.checkpoint.objects import edited
from coldframe.checkpoint.reader import Checkpoint
from coldframe.checkpoint.remote import upload
from coldframe.checkpoint.stream import Array, dims, part_chunks
from coldframe.dtypes import DType
from coldframe.errors import MisuseError
from coldframe.formats import files
from coldframe.formats.bundle import BundleReader
from coldframe.formats.bundle_writer import BundleWriter
from coldframe.formats.object_graph import OBJECT_GRAPH_KEY
from coldframe.formats.slices import TensorSlice
from coldframe.formats.stores import LOCAL, place
from coldframe.records import dataclass

_COPIED: Final = 1 << 20  # bytes of a meta graph at a time


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a tensor to write.

    Attributes:
        part: which slice of it; None for the whole.
        read: yields its elements, flat, in row-major order.
    """

    part: TensorSlice | None
    read: Callable[[], Iterator[Array]]


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor of the new checkpoint.

    Attributes:
        name: its name there.
        dtype: its dtype there.
        shape: its full shape.
        pieces: one for the whole tensor, or the slices that it is to be stored in.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]

    @property
    def nbytes(self) -> int:
        """Its size in bytes; of strings, whose sizes are not known, their number."""
        return math.prod(self.shape) * max(1, self.dtype.width)


@dataclass(frozen=True, slots=True)
class Written:
    """What a tool has written.

    Attributes:
        prefix: the new checkpoint.
        tensors: how many tensors it has.
        nbytes: the size of its files.
        notes: what the user should know.
    """

    prefix: str
    tensors: int
    nbytes: int
    notes: tuple[str, ...] = ()


def copied(ckpt: Checkpoint, old: str, new: str | None = None) -> Output:
    """Return the tensor `old` of a checkpoint as it is: its dtype, its bytes, and its slices if it is partitioned."""
    spec = ckpt.specs[old]
    parts = ckpt.slices(old) or (None,)
    pieces = tuple(Piece(part, functools.partial(part_chunks, ckpt, old, part)) for part in parts)
    return Output(new or old, spec.dtype, dims(spec), pieces)


def literal(name: str, value: bytes) -> Output:
    """Return a scalar string with the given value."""
    scalar = np.empty(1, object)
    scalar[0] = value
    return Output(name, dtypes.string, (), (Piece(None, lambda: iter([scalar])),))


def kept(ckpt: Checkpoint, names: Mapping[str, str]) -> list[Output]:
    """Return the tensors of a checkpoint that keep their values; its object graph, if any, is made to fit.

    Args:
        ckpt: the checkpoint.
        names: the new name of each tensor that is kept, by its old name. The object graph is kept where it is one.
    """
    outputs = [copied(ckpt, old, new) for old, new in names.items() if old != OBJECT_GRAPH_KEY]
    graph = ckpt.object_graph if OBJECT_GRAPH_KEY in names else None
    if graph is not None:
        unchanged = len(names) == len(ckpt) and all(old == new for old, new in names.items())
        outputs.append(copied(ckpt, OBJECT_GRAPH_KEY) if unchanged else literal(OBJECT_GRAPH_KEY, edited(graph, names)))
    return outputs


def refuse_collisions(names: Iterable[tuple[str, str]]) -> None:
    """Raise `MisuseError` where two tensors would get one name.

    Args:
        names: the new name of each tensor, and the old one with what tells where it is from.
    """
    seen: dict[str, str] = {}
    for new, old in names:
        if new in seen:
            raise MisuseError(
                f"two tensors would be called `{new}`",
                found=f"{seen[new]} and {old}",
                hint="rename one, or leave it out",
            )
        seen[new] = old


def write(
    destination: str | os.PathLike[str],
    outputs: Sequence[Output],
    *,
    sources: Sequence[Checkpoint],
    shards: int = 1,
    meta_of: Checkpoint | None = None,
    notes: Iterable[str] = (),
) -> Written:
    """Write a checkpoint; a checkpoint of that name is replaced, in one step.

    Args:
        destination: its prefix; the folder is made. For a URL, the files are made in the folder for temporary files
            and uploaded.
        outputs: its tensors, with names of their own.
        sources: the checkpoints that `outputs` read: none of them is written over.
        shards: how many data files to write, of about equal size.
        meta_of: the source whose ``.meta`` still belongs to the new checkpoint if no tensor changed but in its values.
        notes: what the tool has to say.

    Raises:
        MisuseError: `destination` is a source, there is nothing to write, or names collide.
        NotFoundError: a data file of a source is missing.
        CorruptError: a source is damaged; nothing has been written.
        StoreError: the store of a URL fails.
    """
    store, prefix = place(destination)
    refuse_sources(prefix, sources)
    if not outputs:
        raise MisuseError("no tensor is left to write", where=f"to `{prefix}`")
    ordered = sorted(outputs, key=lambda o: o.name.encode("utf-8", "surrogateescape"))
    meta, said = _meta(ordered, meta_of)
    if store is LOCAL:
        size = _write_local(prefix, ordered, shards, meta)
    else:
        with tempfile.TemporaryDirectory(prefix="coldframe-") as folder:
            local = os.path.join(folder, "made")
            _write_local(local, ordered, shards, meta)
            size = upload(store, prefix, local)
            if meta is None:
                store.remove(f"{prefix}.meta")  # of the checkpoint that was replaced
            else:
                store.replace(f"{prefix}.meta", files.read_file(f"{local}.meta"))
    return Written(prefix, len(ordered), size, (*notes, *said))


def _write_local(prefix: str, ordered: Sequence[Output], shards: int, meta: Checkpoint | None) -> int:
    """Write a checkpoint on this machine; return the size of its files."""
    temporary: Path | None = None
    done = 0
    try:
        with BundleWriter(prefix, shards=shards) as writer:
            share = max(1, -(-sum(o.nbytes for o in ordered) // shards))
            for output in ordered:
                _add(writer, output, min(done // share, shards - 1))
                done += output.nbytes
            temporary = _copy(meta, f"{prefix}.meta") if meta is not None else None
    except BaseException:
        if temporary is not None:
            files.discard(temporary)
        raise
    if temporary is not None:
        files.commit(temporary, f"{prefix}.meta")
    else:
        files.discard(f"{prefix}.meta")  # of the checkpoint that was replaced
    return sum(p.stat().st_size for p in BundleReader(prefix).files)


def refuse_sources(prefix: str, sources: Iterable[Checkpoint]) -> None:
    """Raise `MisuseError` where a tool would write over what it reads."""
    for source in sources:
        if os.path.realpath(prefix) == os.path.realpath(source.prefix):
            raise MisuseError(
                "a tool does not write over its source", where=f"`{prefix}`", expected="another prefix for the result"
            )


def _add(writer: BundleWriter, output: Output, shard: int) -> None:
    name, dtype, shape = output.name, output.dtype, output.shape
    for piece in output.pieces:
        if piece.part is None and dtype.width:
            writer.add_chunks(name, shape, piece.read(), dtype=dtype, shard=shard)
        elif piece.part is None:
            writer.add(name, _joined(piece.read(), dtype).reshape(shape), dtype=dtype, shard=shard)
        elif dtype.width:
            writer.add_slice_chunks(name, shape, piece.part, piece.read(), dtype=dtype, shard=shard)
        else:
            sizes = piece.part.resolve(shape, where=f"of tensor `{name}`").sizes
            value = _joined(piece.read(), dtype).reshape(sizes)
            writer.add_slice(name, shape, piece.part, value, dtype=dtype, shard=shard)


def _joined(found: Iterator[Array], dtype: DType) -> Array:
    arrays = list(found)
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.empty(0, dtype.numpy)


def _meta(outputs: Sequence[Output], source: Checkpoint | None) -> tuple[Checkpoint | None, list[str]]:
    """Return the source whose ``.meta`` still fits, and else what to say about it."""
    if source is None or not source.store.is_file(path := f"{source.prefix}.meta"):
        return None, []
    why = _misfit(source, {o.name: o for o in outputs})
    return (None, [f"{path} was not copied: {why}"]) if why else (source, [])


def _copy(meta_of: Checkpoint, target: str) -> Path:
    """Copy a meta graph beside `target`, under a name of its own; it is put in place when all else is."""
    file = meta_of.store.open(f"{meta_of.prefix}.meta")
    try:
        steps = range(0, file.size, _COPIED)
        return files.write_temporary(target, (file.read(at, min(_COPIED, file.size - at)) for at in steps))
    finally:
        file.close()


def _misfit(source: Checkpoint, outputs: Mapping[str, Output]) -> str:
    """Return why a graph that restores `source` cannot restore the outputs; nothing where it can."""
    for name, spec in source.specs.items():
        new = outputs.get(name)
        if new is None:
            return f"its graph restores `{name}`, which is not there any more"
        if new.dtype is not spec.dtype or new.shape != dims(spec):
            return f"its graph restores `{name}` as {spec.dtype}{list(spec.shape)}"
    return ""
