"""Tensors in chunks, so that memory does not grow with them.

A chunk is a flat array of consecutive elements, in row-major order. All chunks of a tensor but the last have the same
number of elements, whatever it is stored in; so the chunks of two tensors of one shape belong together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy.typing as npt

from coldframe.checkpoint.reader import Checkpoint
from coldframe.formats.checkpoint_file import even_chunks
from coldframe.formats.slices import TensorSlice, row_blocks
from coldframe.shapes import TensorSpec

Array = npt.NDArray[Any]
COUNT: Final = 1 << 18  # elements of a chunk: a few megabytes, whatever the dtype


def dims(spec: TensorSpec) -> tuple[int, ...]:
    """Return the shape of a stored tensor, all of whose dimensions are known."""
    return tuple(d for d in spec.shape if d is not None)


def chunks(ckpt: Checkpoint, name: str) -> Iterator[Array]:
    """Yield the elements of a tensor in chunks, fresh ones; the bytes are checked.

    Raises:
        NotFoundError: no such tensor, or its data file is missing.
        CorruptError: its bytes are damaged.
    """
    return ckpt.chunks(name, chunk_bytes=COUNT * ckpt.specs[name].dtype.numpy.itemsize)


def part_chunks(ckpt: Checkpoint, name: str, part: TensorSlice | None) -> Iterator[Array]:
    """Yield the elements of a tensor, or of a slice of it, in chunks; raises as `chunks`."""
    if part is None:
        yield from chunks(ckpt, name)
        return
    spec = ckpt.specs[name]
    if part in ckpt.slices(name):
        yield from ckpt.slice_chunks(name, part, chunk_bytes=COUNT * spec.dtype.numpy.itemsize)
        return
    require_intact(ckpt, name)
    box = part.resolve(dims(spec), where=f"of tensor `{name}` in {ckpt.prefix}")
    pieces = (ckpt.read_slice(name, b.starts, b.sizes).reshape(-1) for b in row_blocks(box, COUNT))
    yield from even_chunks(pieces, COUNT)


def require_intact(ckpt: Checkpoint, name: str) -> None:
    """Check the CRCs of a tensor, which are of more than the part that is wanted; raise `CorruptError`."""
    for _ in chunks(ckpt, name):
        pass
