"""Input functions of arrays in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from coldframe.tf1.framework import nest


def numpy_input_fn(
    x: Any, y: Any = None, batch_size: int = 128, num_epochs: int | None = 1, shuffle: bool | None = None,
    queue_capacity: int = 1000, num_threads: int = 1,
) -> Callable[[], Any]:  # fmt: skip
    """Return an input function that gives batches of rows of arrays.

    Args:
        x: an array, or arrays by name, of equal lengths.
        y: labels: an array, arrays by name, or None.
        batch_size: rows per batch; the last may have fewer.
        num_epochs: how often to go through the rows; without end for None.
        shuffle: whether in another order each time; must be said.
    """
    if not isinstance(shuffle, bool):
        raise ValueError(  # noqa: TRY004 - as TensorFlow
            "shuffle must be provided and explicitly set as boolean (it is recommended to set it as True for training)"
        )
    if isinstance(x, dict) and not x:
        raise ValueError("x cannot be an empty dict")
    structure = x if y is None else (x, y)
    arrays = [np.asarray(a) for a in nest.flatten(structure)]
    count = len(arrays[0])
    if any(len(a) != count for a in arrays):
        raise ValueError(f"Length of tensors in x and y is mismatched: {[a.shape for a in arrays]}")

    def batches() -> Iterator[Any]:
        rng, left, epoch = np.random.default_rng(), np.empty(0, np.int64), 0
        while count and (num_epochs is None or epoch < num_epochs):
            order = rng.permutation(count) if shuffle else np.arange(count)
            left, epoch = np.concatenate([left, order]), epoch + 1
            while len(left) >= batch_size:
                yield tuple(a[left[:batch_size]] for a in arrays)
                left = left[batch_size:]
        if len(left):
            yield tuple(a[left] for a in arrays)

    def input_fn() -> Any:
        from coldframe.tf1.data import Dataset

        types = tuple(_dtype(a) for a in arrays)
        dataset = Dataset.from_generator(batches, types, tuple([None, *a.shape[1:]] for a in arrays))
        return dataset.map(lambda *parts: nest.pack_sequence_as(structure, list(parts)))

    return input_fn


def _dtype(array: Any) -> Any:
    from coldframe import dtypes

    return dtypes.string if array.dtype.kind in "OSU" else dtypes.from_numpy(array.dtype)


__all__ = ["numpy_input_fn"]
