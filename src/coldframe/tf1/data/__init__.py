"""`tf.data`: input pipelines. `Dataset` describes elements, `Iterator` gives them."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.data import experimental
from coldframe.tf1.data.dataset import AUTOTUNE, Dataset, Options
from coldframe.tf1.data.iterator import Iterator
from coldframe.tf1.data.readers import FixedLengthRecordDataset, TextLineDataset, TFRecordDataset


def make_one_shot_iterator(dataset: Dataset) -> Iterator:
    """Return an iterator that begins by itself and goes to the end once."""
    return dataset.make_one_shot_iterator()


def make_initializable_iterator(dataset: Dataset, shared_name: str | None = None) -> Iterator:
    """Return an iterator whose `initializer` must be run first."""
    return dataset.make_initializable_iterator(shared_name)


def get_output_types(dataset_or_iterator: Any) -> Any:
    """Return the dtypes of an element, in its structure."""
    return dataset_or_iterator.output_types


def get_output_shapes(dataset_or_iterator: Any) -> Any:
    """Return the shapes of an element, in its structure."""
    return dataset_or_iterator.output_shapes


def get_output_classes(dataset_or_iterator: Any) -> Any:
    """Return the classes of an element's tensors, in its structure."""
    return dataset_or_iterator.output_classes


__all__ = [
    "AUTOTUNE",
    "Dataset",
    "FixedLengthRecordDataset",
    "Iterator",
    "Options",
    "TFRecordDataset",
    "TextLineDataset",
    "experimental",
    "get_output_classes",
    "get_output_shapes",
    "get_output_types",
    "make_initializable_iterator",
    "make_one_shot_iterator",
]
