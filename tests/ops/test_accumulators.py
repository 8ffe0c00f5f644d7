"""Conditional accumulators against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import ExecutionError
from coldframe.runtime.session import Session
from step_oracle import steps

r = tf.raw_ops


class Dense:
    """The ops of an accumulator of tensors."""

    def __init__(self, prefix: str = "", dtype: Any = tf.float32, shape: Any = (2,), **attrs: Any) -> None:
        self.dtype, self.prefix = dtype, prefix
        self.handle = getattr(r, f"{prefix}ConditionalAccumulator")(dtype=dtype, shape=shape, **attrs)

    def apply(self, step: int, gradient: Any) -> Any:
        make = getattr(r, f"{self.prefix}AccumulatorApplyGradient")
        return make(handle=self.handle, local_step=np.int64(step), gradient=tf.constant(gradient, self.dtype))

    def take(self, n: int) -> Any:
        make = getattr(r, f"{self.prefix}AccumulatorTakeGradient")
        return make(handle=self.handle, num_required=n, dtype=self.dtype)

    def at(self, step: int) -> Any:
        return getattr(r, f"{self.prefix}AccumulatorSetGlobalStep")(handle=self.handle, new_global_step=np.int64(step))

    @property
    def count(self) -> Any:
        return getattr(r, f"{self.prefix}AccumulatorNumAccumulated")(handle=self.handle)


@pytest.mark.parametrize("prefix", ["", "Resource"])
@pytest.mark.parametrize("how", ["MEAN", "SUM"])
def test_tensors(prefix: str, how: str) -> None:
    def build() -> list[Any]:
        a = Dense(prefix, reduction_type=how)
        n = a.count
        return [
            n, a.apply(0, [1, 2]), a.apply(0, [3, 5]), n, a.take(2), n, a.apply(0, [5, 6]), n, a.apply(1, [5, 6]), n,
            a.take(1), a.at(7), a.apply(3, [1, 1]), n, a.apply(7, [1, 1]), n, a.take(0), a.take(-1), n,
            a.apply(9, [1, 2, 3]), n, a.apply(8, [4, 2]), a.apply(8, [4, 4]), a.take(1), n,
            a.at(3), a.apply(4, [0, 0]), n,
        ]  # fmt: skip

    steps(build)


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_dtypes(kind: str) -> None:
    def build() -> list[Any]:
        a = Dense(dtype=tf.as_dtype(kind))
        return [*(a.apply(0, [0.1 * k, 1]) for k in range(3)), tf.cast(a.take(3), tf.float64)]

    steps(build)


def test_shapes_that_are_not_known() -> None:
    def build() -> list[Any]:
        a, b = Dense(shape=None), Dense(shape=[None, 2])
        return [
            a.apply(0, [1, 2]), a.apply(0, [3, 2, 1]), a.apply(0, [3, 2]), a.take(1), a.apply(1, [[1, 2, 3]]),
            a.take(1),
            b.apply(0, [[1, 2]]), b.apply(0, [[1, 2], [3, 4]]), b.apply(0, [1, 2]), b.take(1),
        ]  # fmt: skip

    steps(build)


class Sparse(Dense):
    """The ops of an accumulator of rows."""

    def __init__(self, shape: Any = (None, 2), **attrs: Any) -> None:
        self.dtype, self.prefix = tf.float32, ""
        self.handle = r.SparseConditionalAccumulator(dtype=tf.float32, shape=shape, **attrs)

    def rows(self, step: int, at: list[int], values: Any, shape: Any = ()) -> Any:
        return r.SparseAccumulatorApplyGradient(
            handle=self.handle, local_step=np.int64(step), gradient_indices=tf.constant(at, tf.int64, [len(at)]),
            gradient_values=tf.constant(values, tf.float32), gradient_shape=tf.constant(shape, tf.int64, [len(shape)]),
            has_known_shape=bool(shape),
        )  # fmt: skip

    def take(self, n: int) -> Any:
        made = r.SparseAccumulatorTakeGradient(handle=self.handle, num_required=n, dtype=tf.float32)
        return tf.concat([tf.cast(tf.reshape(t, [-1]), tf.float32) for t in made], 0)


@pytest.mark.parametrize("how", ["MEAN", "SUM"])
def test_rows(how: str) -> None:
    def build() -> list[Any]:
        a = Sparse(reduction_type=how)
        two = [[1, 2], [3, 4]]
        n = a.count
        return [
            a.rows(0, [0, 2], two, [3, 2]), a.rows(0, [1, 2], two, [3, 2]), n, a.take(1), n, a.rows(1, [0, 2], two),
            a.take(1), a.rows(2, [2, 0], two), a.rows(2, [2, 2, 0], [*two, [5, 6]]), a.take(1), a.rows(1, [0, 1], two),
            n,
            a.rows(3, [0], [[1, 2]], [1, 2]), a.rows(3, [0], [[1, 2]], [4, 2]), a.rows(3, [7], [[1, 2]]),
            a.rows(3, [-7], [[1, 2]]), a.rows(3, [0, 1], [[1, 2]]), a.rows(3, [], np.zeros([0, 2])), n,
            a.rows(3, [0], [[1, 2, 3]]), n, a.take(1), a.take(0),
        ]  # fmt: skip

    steps(build)


def test_rows_of_a_shape_that_is_not_known() -> None:
    def build() -> list[Any]:
        a, b = Sparse(shape=None), Sparse(shape=[5, 2])
        return [
            a.rows(0, [4], [[[1, 2]]]), a.rows(0, [3], [[[1, 2, 3]]]), a.rows(0, [3], [[[1, 2]]]), a.take(1),
            b.rows(0, [4], [[1, 2]]), b.take(1),
        ]  # fmt: skip

    steps(build)


def message(build: Any) -> str:
    with tf.Graph().as_default() as g:
        made = build()
        names = [m.name for m in (made if isinstance(made, list) else [made])]
    session = Session(g.as_graph_def(), "reference")
    for name in names[:-1]:
        session.run(name)
    with pytest.raises(ExecutionError) as caught:
        session.run(names[-1])
    return str(caught.value)


def test_messages() -> None:
    assert "ConditionalAccumulator `ConditionalAccumulator`: the shape of a gradient" in message(
        lambda: Dense().apply(0, [1, 2, 3])
    )
    integers = message(
        lambda: r.AccumulatorApplyGradient(handle=Dense().handle, local_step=np.int64(0), gradient=tf.constant([1, 2]))
    )
    assert "takes gradients of another dtype" in integers, "TensorFlow ends the process"
    other = message(lambda: r.AccumulatorTakeGradient(handle=Dense().handle, num_required=1, dtype=tf.int32))
    assert "has gradients of another dtype" in other
    assert "`num_required`" in message(lambda: Dense().take(0))
    assert "not an accumulator of tensors" in message(
        lambda: r.AccumulatorTakeGradient(handle=Sparse().handle, num_required=1, dtype=tf.float32)
    )
    twice = message(lambda: [Dense(shared_name="a").count, Dense(shared_name="a", shape=[3]).count])
    assert "is used with different settings" in twice
    assert "rows of a gradient" in message(lambda: Sparse().rows(0, [1, 2], [[1, 2]]))
    assert "a gradient's rows" in message(lambda: Sparse().rows(0, [1], [[1, 2, 3]]))
    assert "rows of a gradient of a known shape" in message(lambda: Sparse().rows(0, [1], [[1, 2]], [3, 3]))
    assert "the shape of a gradient" in message(lambda: Sparse(shape=[5, 2]).rows(0, [1], [[1, 2]], [6, 2]))
