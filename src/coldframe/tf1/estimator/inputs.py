"""`tf.estimator.inputs`: batches of arrays and of data frames.

Batches are cut from a stream of rows that goes on from one epoch to the next, so only the very last is smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from coldframe.dtypes import from_numpy, string
from coldframe.tf1.data.dataset import Dataset


def numpy_input_fn(
    x: Any, y: Any = None, batch_size: int = 128, num_epochs: int | None = 1, shuffle: bool | None = None,
    queue_capacity: int = 1000, num_threads: int = 1,
) -> Callable[[], Any]:  # fmt: skip
    """Return an input function that gives batches of arrays.

    Args:
        x: an array, or arrays by name; their first axes are of one length.
        y: the labels: an array, or arrays by name; None for features only.
        batch_size: rows in a batch.
        num_epochs: how often to go through the rows; None: without end.
        shuffle: whether to draw rows in random order; must be said.
        queue_capacity, num_threads: accepted for compatibility.

    Raises:
        ValueError: `shuffle` is not said, or arrays are of different lengths.
        TypeError: `x` is neither an array nor a dict.
    """
    del queue_capacity, num_threads
    _require_shuffle(shuffle)
    if not isinstance(x, (np.ndarray, Mapping)):
        raise TypeError(f"x must be a dict or array; got {type(x).__name__}")
    if isinstance(x, Mapping) and not x:
        raise ValueError("x cannot be an empty dict")
    if isinstance(y, Mapping) and not y:
        raise ValueError("y cannot be empty dict, use None instead.")
    features, labels = _named(x), {} if y is None else _named(y)
    lengths = {k: len(v) for k, v in (*features.items(), *labels.items())}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"Length of tensors in x and y is mismatched. All elements in x and y must have the same length: {lengths}"
        )

    def input_fn() -> Any:
        arrays = [*features.values(), *labels.values()]
        tensors = _tensors(arrays, batch_size, num_epochs, bool(shuffle))
        fed = dict(zip(features, tensors, strict=False)) if isinstance(x, Mapping) else tensors[0]
        if y is None:
            return fed
        last = tensors[len(features) :]
        return fed, dict(zip(labels, last, strict=True)) if isinstance(y, Mapping) else last[0]

    return input_fn


def pandas_input_fn(
    x: Any, y: Any = None, batch_size: int = 128, num_epochs: int | None = 1, shuffle: bool | None = None,
    queue_capacity: int = 1000, num_threads: int = 1, target_column: str = "target",
) -> Callable[[], Any]:  # fmt: skip
    """Return an input function that gives batches of the columns of a data frame, by name.

    Args:
        x: a ``pandas.DataFrame``.
        y: the labels, a ``pandas.Series``, or a frame, with the index of `x`; None for features only.
        batch_size, num_epochs, shuffle, queue_capacity, num_threads: as for `numpy_input_fn`.
        target_column: a name for the labels that no column has.

    Raises:
        TypeError: `x` is no data frame.
        ValueError: the indexes differ, or `shuffle` is not said.
    """
    _require_shuffle(shuffle)
    if not hasattr(x, "columns"):
        raise TypeError("x should be pandas.DataFrame instance")
    if y is not None and target_column in x:
        raise ValueError(f"Cannot use name {target_column} for target column: DataFrame already has a column with that "
                         "name.")  # fmt: skip
    if y is not None and not np.array_equal(x.index, y.index):
        raise ValueError(f"Index for x and y are mismatched.\nIndex for x: {x.index}\nIndex for y: {y.index}\n")
    labels: Any = None
    if y is not None:
        labels = {c: np.asarray(y[c]) for c in y.columns} if hasattr(y, "columns") else np.asarray(y)
    columns = {c: np.asarray(x[c]) for c in x.columns}
    return numpy_input_fn(columns, labels, batch_size, num_epochs, shuffle, queue_capacity, num_threads)


def _require_shuffle(shuffle: Any) -> None:
    if shuffle not in (True, False):
        raise ValueError(
            "shuffle must be provided and explicitly set as boolean (it is recommended to set it as True for "
            f"training); got {shuffle}"
        )


def _named(arrays: Any) -> dict[str, Any]:
    return {k: np.asarray(v) for k, v in arrays.items()} if isinstance(arrays, Mapping) else {"": np.asarray(arrays)}


def _tensors(arrays: list[Any], batch_size: int, epochs: int | None, shuffle: bool) -> list[Any]:
    def batches() -> Iterator[tuple[Any, ...]]:
        for rows in _rows(len(arrays[0]), batch_size, epochs, shuffle):
            yield tuple(a[rows] for a in arrays)

    fixed = batch_size if epochs is None else None
    kinds, shapes = zip(*((_dtype(a), (fixed, *a.shape[1:])) for a in arrays), strict=True)
    return list(Dataset.from_generator(batches, tuple(kinds), tuple(shapes)).make_one_shot_iterator().get_next())


def _dtype(array: Any) -> Any:
    return string if array.dtype.kind in "OSU" else from_numpy(array.dtype)


def _rows(count: int, batch_size: int, epochs: int | None, shuffle: bool) -> Iterator[Any]:
    """Yield the numbers of the rows of each batch."""
    if not count:
        return
    random, waiting, done = np.random.default_rng(), np.empty(0, np.int64), 0
    while epochs is None or done < epochs:
        done += 1
        waiting = np.concatenate([waiting, random.permutation(count) if shuffle else np.arange(count)])
        whole = len(waiting) // batch_size * batch_size
        yield from waiting[:whole].reshape(-1, batch_size)
        waiting = waiting[whole:]
    if len(waiting):
        yield waiting


__all__ = ["numpy_input_fn", "pandas_input_fn"]
