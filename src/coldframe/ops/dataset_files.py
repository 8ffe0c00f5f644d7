"""Datasets of what is in files, where the session allows reading them; and datasets that remember their elements.

A cache keeps the elements in memory, of the first pass that comes to its end, for later passes over the same dataset.
Where TensorFlow would keep them in files, they are kept in memory all the same.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from coldframe import dtypes
from coldframe.errors import NotFoundError
from coldframe.formats.tf_record import RecordWriter, read_records
from coldframe.ops.dataset_core import (
    HINTS,
    Dataset,
    Element,
    Elements,
    Saved,
    Work,
    dataset_of,
    loaded_inner,
    with_inner,
    within,
)
from coldframe.ops.record_files import fixed_length, lines
from coldframe.ops.state import Handle, State
from coldframe.ops.table import Op, alias, op
from coldframe.primitives.base import refuse
from coldframe.shapes import Shape


def of_files(filenames: Any, read: Callable[[str], Iterator[bytes]]) -> Dataset:
    """Return the records of one file after the other; one that cannot be read on is left behind."""
    paths = np.ravel(filenames).tolist()

    return Dataset(lambda work: _Records([functools.partial(_opened, work, p, read) for p in paths]))


def _opened(work: Work, path: Any, read: Callable[[str], Iterator[bytes]]) -> Iterator[bytes]:
    return read(work.state.readable(path))


class _Records(Elements):
    """The records of one file after the other; `file` counts those that were opened, `record` what the last gave."""

    parts: ClassVar = {"file": int, "record": int, "open": bool}

    def __init__(self, begin: list[Callable[[], Iterator[bytes]]]) -> None:
        self._begin = begin
        self.file = self.record = 0
        self._now: Iterator[bytes] | None = None

    def __next__(self) -> Element:
        while True:
            if self._now is None:
                self._open()
            try:
                element = (np.array(next(self._now or iter(())), object),)
            except StopIteration:
                self._now = None
            except BaseException:
                self._now = None
                raise
            else:
                self.record += 1
                return element

    def _open(self) -> None:
        if self.file >= len(self._begin):
            raise StopIteration
        self.file, self.record = self.file + 1, 0
        self._now = self._begin[self.file - 1]()

    @property
    def open(self) -> bool:
        """Whether a file is being read."""
        return self._now is not None

    def load(self, saved: Any) -> None:
        parts = self.opened(saved)
        self.file = within(parts["file"], 0, len(self._begin))
        if parts["open"]:
            self.file = within(self.file, 1, len(self._begin)) - 1
            self._open()
            skipped = sum(1 for _ in itertools.islice(self._now or (), parts["record"]))
            self.record = within(parts["record"], 0, skipped)


@op("MatchingFilesDataset", shape="-> []", stateful=True)
def matching_files_dataset(xp: Any, state: State, patterns: Any) -> Any:
    """The names of the files that match, pattern by pattern, each pattern's in order."""
    asked = [bytes(p) for p in np.ravel(patterns).tolist()]
    return Dataset(lambda work: _Names(work, asked))


class _Names(Elements):
    """Names of files, looked for when the first one is asked for."""

    parts: ClassVar = {"names": (list, type(None)), "at": int}

    def __init__(self, work: Work, patterns: list[bytes]) -> None:
        self._work, self._patterns = work, patterns
        self.names: list[str] | None = None
        self.at = 0

    def __next__(self) -> Element:
        if self.names is None:
            found = [path for pattern in self._patterns for path in sorted(self._work.state.match_files(pattern))]
            self.names = [os.fsdecode(path) for path in found if not os.path.isdir(path)]
        if not self.names:
            self.names = None
            raise NotFoundError("no file matches", found=[os.fsdecode(p) for p in self._patterns])
        if self.at >= len(self.names):
            raise StopIteration
        self.at += 1
        return (np.array(os.fsencode(self.names[self.at - 1]), object),)


@op("DatasetToTFRecord", stateful=True, effect=True)
def dataset_to_tf_record(xp: Any, state: State, input_dataset: Any, filename: Any, compression_type: Any) -> None:
    """Write the elements, strings, as records of a file, which appears when it is whole."""
    path, work = state.writable(bytes(np.asarray(filename, object).item())), Work(state)
    part = f"{path}.part{os.getpid()}"
    try:
        with RecordWriter(part, text(compression_type)) as writer:
            for element in dataset_of(input_dataset).start(work):
                writer.write(_record(element))
        os.replace(part, path)
    except OSError as e:
        raise refuse(f"cannot write `{path}`", found=e.strerror) from e
    finally:
        work.stop()
        with contextlib.suppress(FileNotFoundError):
            os.remove(part)


def _record(element: Element) -> bytes:
    [value, *others] = element
    if others or np.ndim(value) or not isinstance(np.asarray(value, object).item(), bytes):
        raise refuse("an element to write", expected="one string", found=f"{len(element)} components")
    return bytes(np.asarray(value, object).item())


def text(value: Any) -> str:
    """Return a string."""
    return bytes(np.asarray(value, object).item()).decode("utf-8", "replace")


@op("TextLineDataset", shape="-> []", stateful=True, ignores=HINTS)
def text_line_dataset(xp: Any, state: State, filenames: Any, compression_type: Any, buffer_size: Any) -> Any:
    """Lines of files, without their ends."""
    compression = text(compression_type)
    return of_files(filenames, lambda path: lines(path, compression))


@op("TFRecordDataset", shape="-> []", stateful=True, ignores=HINTS)
def tf_record_dataset(xp: Any, state: State, filenames: Any, compression_type: Any, buffer_size: Any) -> Any:
    """Records of TFRecord files."""
    compression = text(compression_type)
    return of_files(filenames, lambda path: read_records(path, compression))


@op("TFRecordDatasetV2", shape="-> []", stateful=True, ignores=HINTS)
def tf_record_dataset_v2(
    xp: Any, state: State, filenames: Any, compression_type: Any, buffer_size: Any, byte_offsets: Any
) -> Any:
    """Records of TFRecord files, from their beginnings."""
    if np.size(byte_offsets):
        raise refuse("`byte_offsets`", expected="none", found=f"{np.size(byte_offsets)} offsets")
    compression = text(compression_type)
    return of_files(filenames, lambda path: read_records(path, compression))


@op("FixedLengthRecordDatasetV2", shape="-> []", stateful=True, ignores=HINTS)
def fixed_length_record_dataset_v2(
    xp: Any, state: State, filenames: Any, header_bytes: Any, record_bytes: Any, footer_bytes: Any, buffer_size: Any,
    compression_type: Any,
) -> Any:  # fmt: skip
    """Records of one size, between a header and a footer."""
    size, header, footer = int(record_bytes), int(header_bytes), int(footer_bytes)
    if size < 1 or header < 0 or footer < 0:
        raise refuse("sizes of records", expected="positive", found=[header, size, footer])
    compression = text(compression_type)

    def read(path: str) -> Iterator[bytes]:
        rest = -1 if compression else (os.path.getsize(path) - header - footer) % size if os.path.exists(path) else 0
        if rest > 0:
            raise refuse(
                f"`{path}` holds no whole number of records", expected=f"{size} bytes each", found=f"{rest} left"
            )
        return fixed_length(path, size, header, footer, compression=compression)

    return of_files(filenames, read)


@op("FixedLengthRecordDataset", shape="-> []", stateful=True, ignores=HINTS)
def fixed_length_record_dataset(
    xp: Any, state: State, filenames: Any, header_bytes: Any, record_bytes: Any, footer_bytes: Any, buffer_size: Any
) -> Any:
    """Records of one size, between a header and a footer."""
    return fixed_length_record_dataset_v2.body(
        xp, state, filenames, header_bytes, record_bytes, footer_bytes, buffer_size, np.array(b"", object)
    )


# --- remembering ---
class _Cache:
    """The elements of a whole pass, once there was one."""

    def __init__(self) -> None:
        self.elements: list[Element] | None = None
        self.lock = threading.Lock()


@op("CacheDataset", shape="-> []", stateful=True, ignores=HINTS)
def cache_dataset(xp: Any, state: State, input_dataset: Any, filename: Any) -> Any:
    """The same elements, made once."""
    return _cached(dataset_of(input_dataset), _Cache())


def _cached(source: Dataset, cache: _Cache) -> Dataset:
    return Dataset(lambda work: _Remembered(source, work, cache), source.size)


class _Remembered(Elements):
    """The elements of the cache, where there are any when this begins; otherwise it fills it.

    `made` are the elements that are or go into the cache, `at` how many of the cache's were given, -1 where this fills
    it.
    """

    parts: ClassVar = {"made": list, "at": int}

    def __init__(self, source: Dataset, work: Work, cache: _Cache) -> None:
        self._source, self._work, self._cache = source, work, cache
        self.made: list[Element] = []
        self.at = -1
        self._inner: Elements | None = None
        if cache.elements is not None:
            self.made, self.at = cache.elements, 0
        else:
            self._inner = source.start(work)

    def __next__(self) -> Element:
        if self._inner is None:
            if self.at >= len(self.made):
                raise StopIteration
            self.at += 1
            return self.made[self.at - 1]
        try:
            element = next(self._inner)
        except StopIteration:
            with self._cache.lock:
                if self._cache.elements is None:
                    self._cache.elements = self.made
            raise
        self.made.append(element)
        return element

    def save(self) -> Saved:
        return with_inner(super().save(), self._inner)

    def load(self, saved: Any) -> None:
        super().load(saved)
        self._inner = loaded_inner(saved, lambda: self._source.start(self._work))
        if self._inner is None:
            self.at = within(self.at, 0, len(self.made))
            with self._cache.lock:
                if self._cache.elements is None:
                    self._cache.elements = self.made


class CacheHandle(Handle):
    """A place for the elements of a cached dataset; every dataset has its own."""


@op("CacheDatasetV2", shape="-> []", stateful=True, ignores=HINTS)
def cache_dataset_v2(xp: Any, state: State, input_dataset: Any, filename: Any, cache: Any) -> Any:
    """The same elements, made once."""
    return _cached(dataset_of(input_dataset), _Cache())


@op("DummyMemoryCache", shape="-> []", stateful=True)
def dummy_memory_cache(xp: Any, state: State) -> Any:
    """No cache: the dataset makes its own."""
    return CacheHandle(state.node, "cache", dtypes.resource, Shape(()))


@op("AnonymousMemoryCache", shape="-> []", stateful=True)
def anonymous_memory_cache(xp: Any, state: State) -> Any:
    """A place for the elements of a cached dataset."""
    return CacheHandle(state.node, "cache", dtypes.resource, Shape(())), np.array(0, object)


# --- nothing but hints ---
@op("OptionsDataset", shape="-> []", stateful=True, ignores=(*HINTS, "serialized_options"))
def options_dataset(xp: Any, state: State, input_dataset: Any, *hints: Any) -> Any:
    """The same elements."""
    return dataset_of(input_dataset)


_HINTS = (
    *HINTS, "algorithm", "cpu_budget", "ram_budget", "optimization_configs", "has_captured_ref", "auto_shard_policy",
    "num_replicas", "N",
)  # fmt: skip
SAME: list[Op] = [
    alias(name, options_dataset, ignores=_HINTS)
    for name in (
        "ModelDataset", "OptimizeDataset", "OptimizeDatasetV2", "MaxIntraOpParallelismDataset",
        "PrivateThreadPoolDataset", "NonSerializableDataset", "RewriteDataset", "FinalizeDataset",
        "LatencyStatsDataset",
        "BytesProducedStatsDataset", "SetStatsAggregatorDataset", "WrapDatasetVariant", "UnwrapDatasetVariant",
        "ExperimentalNonSerializableDataset", "ExperimentalPrivateThreadPoolDataset",
        "ExperimentalMaxIntraOpParallelismDataset", "ExperimentalBytesProducedStatsDataset",
        "ExperimentalLatencyStatsDataset", "ExperimentalSetStatsAggregatorDataset",
    )
]  # fmt: skip


@op("StatsAggregatorHandle", shape="-> []", stateful=True, ignores=("container",))
def stats_aggregator_handle(xp: Any, state: State, *, shared_name: str) -> Any:
    """A place for statistics of datasets, which nobody keeps here."""
    return Handle(shared_name or state.node, "stats", dtypes.resource, Shape(()))


OTHERS: list[Op] = [
    *[
        alias(name, stats_aggregator_handle)
        for name in ("StatsAggregatorHandleV2", "ExperimentalStatsAggregatorHandle")
    ],
    alias("ExperimentalMatchingFilesDataset", matching_files_dataset),
    alias("ExperimentalDatasetToTFRecord", dataset_to_tf_record),
]
