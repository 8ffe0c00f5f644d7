"""What every checkpoint format offers to read it by, and what their readers share.

A checkpoint is a set of named tensors. A tensor lies in one piece or, where its variable was partitioned, in slices
that have to be put together again, perhaps along other lines than they were cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.errors import MisuseError, NotFoundError, near_names
from coldframe.formats.slices import Box, TensorSlice, require_cover
from coldframe.shapes import TensorSpec

CHUNK_BYTES: Final = 16 << 20
ReadPart = Callable[[int, Box], npt.NDArray[Any]]


class CheckpointFile(Protocol):
    """A checkpoint on disk, open for reading; nothing is decoded before it is asked for."""

    @property
    def version(self) -> str:
        """The format: ``V1`` or ``V2``."""

    @property
    def prefix(self) -> str:
        """The path that names the checkpoint."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that make it up, whether or not they are there."""

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Name, dtype and full shape of each tensor, sorted by name. No tensor bytes are read for it."""

    def __contains__(self, name: str, /) -> bool:
        """Whether it holds a tensor of that name."""

    def read(self, name: str, *, verify: bool | None = None) -> npt.NDArray[Any]:
        """Return a tensor; strings are objects of bytes. The array may be a read-only view of the file.

        Args:
            name: the tensor's name in the checkpoint.
            verify: whether to check its CRC; by default as the file was opened.

        Raises:
            NotFoundError: no such tensor, or its data file is missing.
            CorruptError: the bytes are damaged.
        """

    def read_many(
        self,
        names: Iterable[str],
        *,
        into: Mapping[str, npt.NDArray[Any]] | None = None,
        copy: bool = False,
        verify: bool | None = None,
        threads: int | None = None,
    ) -> dict[str, npt.NDArray[Any]]:
        """Return tensors by name, in the order asked for. They are read, and their CRCs checked, in parallel.

        Args:
            names: tensors' names in the checkpoint.
            into: arrays to fill and to return, by name; without, arrays may be read-only views of the file.
            copy: return arrays of their own instead, which may be changed.
            verify: whether to check CRCs; by default as the file was opened.
            threads: how many threads to use; by default one per core, up to eight.

        Raises:
            NotFoundError: no such tensor, or its data file is missing.
            CorruptError: the bytes are damaged. Arrays of `into` may hold some of them.
            MisuseError: an array of `into` has another dtype or shape, is read-only, or not in row-major order.
        """

    def read_slice(self, name: str, starts: Sequence[int], sizes: Sequence[int]) -> npt.NDArray[Any]:
        """Return ``tensor[starts[0]:starts[0]+sizes[0], ...]`` at about the cost of its own bytes.

        A stored CRC covers a whole tensor (or stored slice), so it is checked only where all of that is read.

        Raises:
            MisuseError: the slice does not fit the tensor.
            NotFoundError: no such tensor, or its data file is missing.
            CorruptError: the bytes are damaged.
        """

    def slices(self, name: str) -> tuple[TensorSlice, ...]:
        """Return the slices that a partitioned tensor is stored in, none for a whole one; raise `NotFoundError`."""

    def chunks(
        self, name: str, *, chunk_bytes: int = CHUNK_BYTES, verify: bool | None = None
    ) -> Iterator[npt.NDArray[Any]]:
        """Yield a tensor's elements in row-major order, as flat arrays, each a fresh one.

        All but the last have the same number of elements, so chunks of tensors of one shape and dtype correspond.
        Memory stays at a few chunks however large the tensor is; tensors of strings, and V1 checkpoints, are decoded
        whole first. A scalar is one chunk of one element, an empty tensor none.

        Args:
            name: the tensor's name in the checkpoint.
            chunk_bytes: the size of a chunk; at least one element is yielded at a time.
            verify: whether to check its CRC; by default as the file was opened. The last chunk is not yielded before
                all bytes that the CRC covers have been checked.

        Raises:
            NotFoundError: no such tensor, or its data file is missing.
            CorruptError: the bytes are damaged.
        """

    def slice_chunks(
        self, name: str, part: TensorSlice, *, chunk_bytes: int = CHUNK_BYTES, verify: bool | None = None
    ) -> Iterator[npt.NDArray[Any]]:
        """Yield the elements of one of the `slices` of a partitioned tensor, in its row-major order; as `chunks` does.

        Raises:
            MisuseError: it is not stored in such a slice.
            NotFoundError: no such tensor, or its data file is missing.
            CorruptError: the bytes are damaged.
        """

    def verify(self, name: str) -> None:
        """Check every stored CRC of a tensor; raise `CorruptError`."""

    def close(self) -> None:
        """Let go of the files. Arrays that were read stay valid."""


def no_such_tensor(name: str, names: Iterable[str], where: str) -> NotFoundError:
    """Return the error for a name that a checkpoint does not hold."""
    return NotFoundError(f"no tensor is called `{name}`", where=where, hint=near_names(name, names))


def no_such_slice(name: str, part: TensorSlice, slices: Iterable[TensorSlice]) -> MisuseError:
    """Return the error for a slice that a tensor is not stored in."""
    there = ", ".join(f"`{s}`" for s in slices)
    return MisuseError(
        f"tensor `{name}` is not stored in such slices", expected=there or "a whole tensor", found=f"`{part}`"
    )


def requested_box(name: str, shape: Sequence[int], starts: Sequence[int], sizes: Sequence[int]) -> Box:
    """Return the region that `starts` and `sizes` mean; raise `MisuseError` where it does not fit `shape`."""
    fits = len(starts) == len(sizes) == len(shape) and all(
        a >= 0 and n >= 0 and a + n <= dim for a, n, dim in zip(starts, sizes, shape, strict=True)
    )
    if not fits:
        raise MisuseError(
            "slice outside its tensor",
            where=f"`{name}`",
            expected=f"starts and sizes within shape {list(shape)}",
            found=f"starts {list(starts)}, sizes {list(sizes)}",
        )
    return Box(tuple(map(int, starts)), tuple(map(int, sizes)))


def require_fit(name: str, dtype: DType, shape: Sequence[int], target: npt.NDArray[Any]) -> None:
    """Raise `MisuseError` unless `target` can take the tensor as it is."""
    if target.dtype != dtype.numpy or target.shape != tuple(shape):
        raise MisuseError(
            f"array for tensor `{name}` does not fit",
            expected=f"{dtype}{list(shape)}",
            found=f"{target.dtype}{list(target.shape)}",
        )
    if not (target.flags.c_contiguous and target.flags.writeable):
        raise MisuseError(
            f"array for tensor `{name}` cannot be filled",
            expected="a writeable array in row-major order",
            found="a read-only one" if not target.flags.writeable else f"strides {list(target.strides)}",
        )


def flat_chunks(array: npt.NDArray[Any], chunk_bytes: int) -> Iterator[npt.NDArray[Any]]:
    """Yield copies of parts of `array`, flat, each of at most `chunk_bytes` or of one element."""
    flat = array.reshape(-1)
    step = max(1, chunk_bytes // max(1, array.itemsize))
    for at in range(0, flat.size, step):
        yield flat[at : at + step].copy()


def even_chunks(pieces: Iterable[npt.NDArray[Any]], count: int) -> Iterator[npt.NDArray[Any]]:
    """Cut flat arrays that follow one another anew: into arrays of `count` elements, the last one shorter."""
    held: list[npt.NDArray[Any]] = []
    size = 0
    for piece in pieces:
        at = 0
        while size + piece.size - at >= count:
            held.append(piece[at : at + count - size])
            at += count - size
            yield held[0] if len(held) == 1 else np.concatenate(held)
            held, size = [], 0
        if at < piece.size:
            held.append(piece[at:])
            size += piece.size - at
    if held:
        yield held[0] if len(held) == 1 else np.concatenate(held)


def assemble(
    name: str, dtype: np.dtype[Any], wanted: Box, stored: Sequence[Box], read_part: ReadPart, *, where: str
) -> npt.NDArray[Any]:
    """Put the region `wanted` together from stored slices.

    Args:
        name: the tensor's name, for errors.
        dtype: numpy's dtype of the elements.
        wanted: the region of the full tensor.
        stored: the regions that the file holds.
        read_part: returns the part of stored slice i that lies in a box given in the full tensor's coordinates.
        where: the file, as errors name it.

    Raises:
        CorruptError: the slices leave a hole in `wanted`, or overlap.
    """
    require_cover(wanted, stored, name=name, where=where)
    meeting = [(i, common) for i, box in enumerate(stored) if (common := wanted.intersect(box)) is not None]
    if len(meeting) == 1:
        return read_part(*meeting[0])
    if not wanted.volume:
        return np.empty(wanted.sizes, dtype)
    # All is checked before the result is allocated: parts that are there pay for the room that they take.
    out = np.empty(wanted.sizes, dtype)
    for i, common in meeting:
        out[common.index(wanted)] = read_part(i, common)
    return out
