"""Datasets of what is in files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.shapes import Shape
from coldframe.tf1.data.dataset import Dataset
from coldframe.tf1.data.structure import Leaf
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.tensor import Tensor

_RECORD = Leaf("tensor", dtypes.string, Shape(()))


def _names(filenames: Any) -> Any:
    if isinstance(filenames, Dataset):
        return filenames
    names = convert_to_tensor(filenames, dtypes.string, name="filenames")
    return (
        raw.Reshape(names, np.array([-1], np.int32), name="flat_filenames") if names.get_shape().ndims != 1 else names
    )


def _read(filenames: Any, build: Callable[[Any], Tensor]) -> Dataset:
    names = _names(filenames)
    if isinstance(names, Dataset):
        return names.flat_map(lambda name: Dataset(build(name), _RECORD))
    return Dataset(build(names), _RECORD)


def _text(value: Any) -> Tensor:
    return convert_to_tensor(value or "", dtypes.string, name="compression_type")


def _room(buffer_size: Any, default: int) -> Tensor:
    return convert_to_tensor(default if buffer_size is None else buffer_size, dtypes.int64, name="buffer_size")


class TextLineDataset(Dataset):
    """Lines of files, without their ends.

    Args:
        filenames: names, a string tensor or a dataset of strings.
        compression_type: ``""``, ``ZLIB`` or ``GZIP``.
        buffer_size: a hint.
    """

    def __init__(
        self, filenames: Any, compression_type: Any = None, buffer_size: Any = None, num_parallel_reads: Any = None
    ) -> None:
        def build(names: Any) -> Tensor:
            return raw.TextLineDataset(names, _text(compression_type), _room(buffer_size, 0))  # type: ignore[no-any-return]

        made = _read(filenames, build)
        super().__init__(made._variant_tensor, made._structure)


class TFRecordDataset(Dataset):
    """Records of TFRecord files.

    Args:
        filenames, compression_type, buffer_size: as `TextLineDataset`.
        num_parallel_reads: how many files are read at once, their records in turn; None: one after the other.
    """

    def __init__(
        self, filenames: Any, compression_type: Any = None, buffer_size: Any = None, num_parallel_reads: Any = None
    ) -> None:
        def build(names: Any) -> Tensor:
            return raw.TFRecordDataset(names, _text(compression_type), _room(buffer_size, 256 * 1024))  # type: ignore[no-any-return]

        if num_parallel_reads is None:
            made = _read(filenames, build)
        else:
            names = _names(filenames)
            files = names if isinstance(names, Dataset) else Dataset.from_tensor_slices(names)
            reads = 4 if num_parallel_reads == -1 else num_parallel_reads
            made = files.interleave(lambda name: Dataset(build(name), _RECORD), reads, 1)
        super().__init__(made._variant_tensor, made._structure)


class FixedLengthRecordDataset(Dataset):
    """Records of one size, between a header and a footer.

    Args:
        filenames, buffer_size, compression_type: as `TextLineDataset`.
        record_bytes, header_bytes, footer_bytes: sizes.
    """

    def __init__(
        self, filenames: Any, record_bytes: Any, header_bytes: Any = None, footer_bytes: Any = None,
        buffer_size: Any = None, compression_type: Any = None, num_parallel_reads: Any = None,
    ) -> None:  # fmt: skip
        def build(names: Any) -> Tensor:
            sizes = [(header_bytes, "header_bytes"), (record_bytes, "record_bytes"), (footer_bytes, "footer_bytes")]
            tensors = [convert_to_tensor(v or 0, dtypes.int64, name=n) for v, n in sizes]
            return raw.FixedLengthRecordDatasetV2(  # type: ignore[no-any-return]
                names, *tensors, _room(buffer_size, 256 * 1024), _text(compression_type)
            )

        made = _read(filenames, build)
        super().__init__(made._variant_tensor, made._structure)


__all__ = ["FixedLengthRecordDataset", "TFRecordDataset", "TextLineDataset"]
