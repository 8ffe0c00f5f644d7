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
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.dtype import as_dtype
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


class CsvDataset(Dataset):
    """Rows of CSV files, a tuple of columns each.

    Args:
        filenames: names, a string tensor.
        record_defaults: a dtype for each column that must be there; or the value that stands for an empty one.
        compression_type: ``""``, ``ZLIB`` or ``GZIP``.
        buffer_size: a hint.
        header: whether the first line of each file is left out.
        field_delim: the character between columns.
        use_quote_delim: whether double quotes hold columns together.
        na_value: what else stands for an empty column.
        select_cols: the numbers of the columns, rising; all for None.
        exclude_cols: the numbers of columns to leave out.
    """

    def __init__(
        self, filenames: Any, record_defaults: Any, compression_type: Any = None, buffer_size: Any = None,
        header: Any = False, field_delim: Any = ",", use_quote_delim: Any = True, na_value: Any = "",
        select_cols: Any = None, exclude_cols: Any = None,
    ) -> None:  # fmt: skip
        defaults = [_default(d) for d in record_defaults]
        leaves = tuple(Leaf("tensor", d.dtype, Shape(())) for d in defaults)
        settings = [
            convert_to_tensor(header, dtypes.bool_, name="header"),
            convert_to_tensor(field_delim, dtypes.string, name="field_delim"),
            convert_to_tensor(use_quote_delim, dtypes.bool_, name="use_quote_delim"),
            convert_to_tensor(na_value, dtypes.string, name="na_value"),
            convert_to_tensor(select_cols or np.zeros(0, np.int64), dtypes.int64, name="select_cols"),
        ]  # fmt: skip
        shapes = [leaf.shape for leaf in leaves]
        inputs = [_names(filenames), _text(compression_type), _room(buffer_size, 4 * 1024 * 1024), *settings, defaults]
        if exclude_cols:
            left_out = convert_to_tensor(exclude_cols, dtypes.int64, name="exclude_cols")
            made = raw.CSVDatasetV2(*inputs, left_out, output_shapes=shapes)
        else:
            made = raw.CSVDataset(*inputs, output_shapes=shapes)
        super().__init__(made, leaves)


def _default(value: Any) -> Tensor:
    if not isinstance(value, Tensor) and (isinstance(value, (dtypes.DType, type))):
        return constant([], as_dtype(value))
    found = convert_to_tensor(value, name="record_defaults")
    return found if found.get_shape().ndims else raw.Reshape(found, np.array([1], np.int32))


__all__ = ["CsvDataset", "FixedLengthRecordDataset", "TFRecordDataset", "TextLineDataset"]
