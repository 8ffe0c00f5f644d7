"""Opening a checkpoint by whatever path people have at hand, as a mapping from tensor names to arrays."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy.typing as npt

from coldframe.checkpoint.remote import open_remote
from coldframe.checkpoint.state import listed_latest
from coldframe.errors import CorruptError, NotFoundError, WrongFileError, near_names
from coldframe.formats.bundle import BundleReader, index_path
from coldframe.formats.checkpoint_file import CHUNK_BYTES, CheckpointFile
from coldframe.formats.checkpoint_state import STATE_FILE, exists
from coldframe.formats.object_graph import OBJECT_GRAPH_KEY, ObjectGraph
from coldframe.formats.slices import TensorSlice
from coldframe.formats.stores import LOCAL, Options, Store, place
from coldframe.formats.v1 import V1Reader
from coldframe.shapes import TensorSpec

_FILE_SUFFIX: Final = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")


def open_checkpoint(
    path: str | os.PathLike[str], *, verify: bool = True, storage_options: Options | None = None
) -> Checkpoint:
    """Open a checkpoint, V2 or V1, for reading.

    Args:
        path: its prefix (``dir/model.ckpt-1000``), one of its files, a folder (its latest checkpoint is opened), a
            state file, or a SavedModel folder. A URL that fsspec knows (``s3://bucket/dir``) will do: only the bytes
            that are asked for are fetched.
        verify: whether to check the stored CRCs of what is read.
        storage_options: what the store of a URL is to be told, such as credentials.

    Returns:
        A read-only mapping from tensor names to arrays. Nothing is read before it is asked for.

    Raises:
        NotFoundError: there is no such checkpoint, or a file of it is missing.
        CorruptError: it is damaged.
        UnsupportedFormatError: it demands a newer reader.
        WrongFileError: the file is something else.
        StoreError: the store of a URL fails; `AccessError` where it refuses.
    """
    store, text = place(path, storage_options)
    return open_in(store, text, verify=verify)


def open_in(store: Store, text: str, *, verify: bool = True) -> Checkpoint:
    """Open a checkpoint of a store, by what a path is called there; see `open_checkpoint`."""
    if store is not LOCAL:
        return Checkpoint(open_remote(store, text, verify=verify), store)
    prefix = find_prefix(text)
    if index_path(prefix).is_file():
        return Checkpoint(BundleReader(prefix, verify=verify))
    return Checkpoint(V1Reader(prefix, verify=verify))


def find_prefix(path: str | os.PathLike[str]) -> str:
    """Return the prefix of the checkpoint that `path` means, as `open_checkpoint` does.

    Raises:
        NotFoundError: none is there.
        WrongFileError: the folder holds several, and no state file says which is the latest.
    """
    text = os.fspath(path)
    if exists(text) and os.path.basename(text) != STATE_FILE:
        return text if not _FILE_SUFFIX.search(text) else _FILE_SUFFIX.sub("", text)
    if os.path.isdir(text):
        return _of_folder(Path(text))
    if os.path.basename(text) == STATE_FILE and os.path.isfile(text):
        return _of_folder(Path(text).parent)
    stem = _FILE_SUFFIX.sub("", text)
    if exists(stem):
        return stem
    folder = Path(stem).parent
    names = _prefixes(folder) if folder.is_dir() else []
    hint = near_names(Path(stem).name, names) if folder.is_dir() else f"the folder `{folder}` does not exist"
    raise NotFoundError(f"no checkpoint is called `{text}`", expected=f"a file {index_path(stem)}", hint=hint)


def _of_folder(folder: Path) -> str:
    if latest := listed_latest(os.fspath(folder)):
        return latest
    for candidate in (folder / "variables" / "variables", folder / "variables"):
        if exists(os.fspath(candidate)):
            return os.fspath(candidate)
    names = _prefixes(folder)
    if len(names) == 1:
        return os.fspath(folder / names[0])
    if names:
        raise WrongFileError(
            f"folder `{folder}` holds several checkpoints and no state file",
            expected=f"a file `{STATE_FILE}` that names the latest",
            found=", ".join(f"`{n}`" for n in names[:5]) + (", ..." if len(names) > 5 else ""),
            hint=f"open one by its prefix: `{folder / names[-1]}`",
        )
    raise NotFoundError(f"no checkpoint in folder `{folder}`", expected="an .index file")


def _prefixes(folder: Path) -> list[str]:
    return sorted(p.name.removesuffix(".index") for p in folder.glob("*.index"))


class Checkpoint(Mapping[str, npt.NDArray[Any]]):
    """An open checkpoint: a mapping from tensor names, sorted, to arrays that are read when asked for.

    ``ckpt["layer/weights"]`` may be a read-only view of the file; copy it to change it. Strings are objects of bytes.
    """

    def __init__(self, file: CheckpointFile, store: Store = LOCAL) -> None:
        self._file, self._store = file, store

    @property
    def prefix(self) -> str:
        """The path that names the checkpoint."""
        return self._file.prefix

    @property
    def store(self) -> Store:
        """The place of its files: this machine's disks, or what a URL names."""
        return self._store

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that make it up."""
        return self._file.files

    @property
    def version(self) -> str:
        """The format: ``V2``, or the older ``V1``."""
        return self._file.version

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Name, dtype and shape of each tensor; no tensor bytes are read for it."""
        return self._file.specs

    @functools.cached_property
    def object_graph(self) -> ObjectGraph | None:
        """The objects that ``tf.train.Checkpoint`` or Keras saved, or None in a checkpoint by names."""
        if OBJECT_GRAPH_KEY not in self._file:
            return None
        value = self._file.read(OBJECT_GRAPH_KEY)
        if value.shape != () or not isinstance(value.item(), bytes):
            raise CorruptError(
                "object graph is not a string", where=f"in {self.prefix}", found=f"{value.dtype}{list(value.shape)}"
            )
        return ObjectGraph.parse(value.item(), where=f"in {self.prefix}")

    @functools.cached_property
    def by_full_name(self) -> Mapping[str, str]:
        """Tensor name by variable name as a TF1 graph has it: the same in a checkpoint by names."""
        graph = self.object_graph
        return graph.by_full_name if graph is not None else {name: name for name in self.specs}

    def read(self, name: str, *, verify: bool | None = None) -> npt.NDArray[Any]:
        """Return a tensor.

        Args:
            name: the tensor's name.
            verify: whether to check its CRC; by default as the checkpoint was opened.

        Raises:
            NotFoundError: no such tensor, or its data file is missing.
            CorruptError: its bytes are damaged.
        """
        return self._file.read(name, verify=verify)

    def read_many(
        self,
        names: Iterable[str] | None = None,
        *,
        into: Mapping[str, npt.NDArray[Any]] | None = None,
        copy: bool = False,
        verify: bool | None = None,
        threads: int | None = None,
    ) -> dict[str, npt.NDArray[Any]]:
        """Return tensors by name. They are read, and their CRCs checked, in parallel: the way to restore a lot.

        Args:
            names: the tensors' names; by default all, or those of `into`.
            into: arrays to fill and to return, by name. Without, arrays may be read-only views of the file.
            copy: return arrays of their own instead, which may be changed.
            verify: whether to check CRCs; by default as the checkpoint was opened.
            threads: how many threads to use; by default one per core, up to eight.

        Raises:
            NotFoundError: no such tensor, or its data file is missing.
            CorruptError: its bytes are damaged. Arrays of `into` may hold some of them.
            MisuseError: an array of `into` has another dtype or shape, is read-only, or not in row-major order.
        """
        if names is None:
            names = self if into is None else into
        return self._file.read_many(names, into=into, copy=copy, verify=verify, threads=threads)

    def read_slice(self, name: str, starts: Sequence[int], sizes: Sequence[int]) -> npt.NDArray[Any]:
        """Return ``tensor[starts[0]:starts[0]+sizes[0], ...]``, reading little more than its bytes.

        The CRC of a tensor, or of a stored slice of it, is checked only where all of that is read.

        Raises:
            MisuseError: the slice does not fit the tensor.
            NotFoundError: no such tensor, or its data file is missing.
            CorruptError: its bytes are damaged.
        """
        return self._file.read_slice(name, starts, sizes)

    def slices(self, name: str) -> tuple[TensorSlice, ...]:
        """Return the slices that a partitioned tensor is stored in; none for one that is stored whole.

        Raises:
            NotFoundError: no such tensor.
        """
        return self._file.slices(name)

    def chunks(
        self, name: str, *, chunk_bytes: int = CHUNK_BYTES, verify: bool | None = None
    ) -> Iterator[npt.NDArray[Any]]:
        """Yield a tensor's elements in row-major order, as flat arrays of `chunk_bytes`, each a fresh one.

        For tensors larger than memory, of which a few chunks are held at a time. (Tensors of strings, and V1
        checkpoints, are decoded whole first.) All chunks but the last have the same number of elements, so those of
        two tensors of one shape and dtype correspond, partitioned or not. A scalar is one chunk of one element, an
        empty tensor none::

            largest = max((abs(a - b).max() for a, b in zip(old.chunks("w"), new.chunks("w"))), default=0.0)

        Args:
            name: the tensor's name.
            chunk_bytes: the size of a chunk; at least one element is yielded at a time.
            verify: whether to check its CRC; by default as the checkpoint was opened. The last chunk is not yielded
                before all bytes that the CRC covers have been checked.

        Raises:
            NotFoundError: no such tensor, or its data file is missing.
            CorruptError: its bytes are damaged.
        """
        return self._file.chunks(name, chunk_bytes=chunk_bytes, verify=verify)

    def slice_chunks(
        self, name: str, part: TensorSlice, *, chunk_bytes: int = CHUNK_BYTES, verify: bool | None = None
    ) -> Iterator[npt.NDArray[Any]]:
        """Yield the elements of one of the `slices` of a partitioned tensor, in its row-major order, as `chunks` does.

        Raises:
            MisuseError: the tensor is not stored in such a slice.
            NotFoundError: no such tensor, or its data file is missing.
            CorruptError: its bytes are damaged.
        """
        return self._file.slice_chunks(name, part, chunk_bytes=chunk_bytes, verify=verify)

    def verify(self) -> None:
        """Check the CRC of every tensor; raise `CorruptError` for the first that fails."""
        for name in self.specs:
            self._file.verify(name)

    def close(self) -> None:
        """Let go of the files. Arrays that were read stay valid."""
        self._file.close()

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self._file.read(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a tensor, or `default` where there is none of that name."""
        return self._file.read(name) if name in self._file else default

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._file

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self.version} checkpoint `{self.prefix}`: {len(self)} tensors>"
