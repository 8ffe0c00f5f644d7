"""Tensor lists against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from graph_oracle import check

r = tf.raw_ops
X = np.arange(12, dtype=np.float32).reshape(4, 3)


SCALAR = np.zeros(0, np.int32)


def unknown(value: Any) -> Any:
    """A tensor that graph construction knows nothing about."""
    return tf.compat.v1.placeholder_with_default(tf.constant(value), None)


def of(value: Any = X, shape: Any = -1) -> Any:
    return r.TensorListFromTensor(tensor=tf.convert_to_tensor(value), element_shape=shape)


def reserve(n: int, shape: Any = -1, dtype: Any = tf.float32) -> Any:
    return r.TensorListReserve(element_shape=shape, num_elements=n, element_dtype=dtype)


def empty(shape: Any = -1, most: int = -1, dtype: Any = tf.float32) -> Any:
    return r.EmptyTensorList(element_shape=shape, max_num_elements=most, element_dtype=dtype)


def stack(handle: Any, shape: Any = -1, dtype: Any = tf.float32, **kwargs: Any) -> Any:
    return r.TensorListStack(input_handle=handle, element_shape=shape, element_dtype=dtype, **kwargs)


def get(handle: Any, i: int, shape: Any = -1, dtype: Any = tf.float32) -> Any:
    return r.TensorListGetItem(input_handle=handle, index=i, element_shape=shape, element_dtype=dtype)


def put(handle: Any, i: int, item: Any, **kwargs: Any) -> Any:
    return r.TensorListSetItem(
        input_handle=handle, index=i, item=item if isinstance(item, tf.Tensor) else tf.constant(item), **kwargs
    )


def push(handle: Any, item: Any) -> Any:
    return r.TensorListPushBack(input_handle=handle, tensor=tf.constant(item))


def pop(handle: Any, shape: Any = -1, dtype: Any = tf.float32) -> Any:
    return r.TensorListPopBack(input_handle=handle, element_shape=shape, element_dtype=dtype)


def gather(handle: Any, indices: Any, shape: Any = -1, dtype: Any = tf.float32) -> Any:
    return r.TensorListGather(input_handle=handle, indices=as_int(indices), element_shape=shape, element_dtype=dtype)


def as_int(indices: Any) -> Any:
    return indices if isinstance(indices, tf.Tensor) else tf.constant(indices, tf.int32)


def length(handle: Any) -> Any:
    return r.TensorListLength(input_handle=handle)


def shape_of(handle: Any, dtype: Any = tf.int32) -> Any:
    return r.TensorListElementShape(input_handle=handle, shape_type=dtype)


def concat(handle: Any, shape: Any = -1, leading: Any = (), dtype: Any = tf.float32) -> list[Any]:
    leading = tf.constant(leading, tf.int64, [len(leading)])
    return list(
        r.TensorListConcatV2(input_handle=handle, element_shape=shape, leading_dims=leading, element_dtype=dtype)
    )


def scatter(indices: Any, n: int | None = None, value: Any = X, shape: Any = -1) -> Any:
    value = tf.constant(value)
    if n is None:
        return r.TensorListScatter(tensor=value, indices=as_int(indices), element_shape=shape)
    return r.TensorListScatterV2(tensor=value, indices=as_int(indices), element_shape=shape, num_elements=n)


def split(lengths: Any, value: Any = X, shape: Any = -1) -> Any:
    return r.TensorListSplit(tensor=tf.constant(value), element_shape=shape, lengths=tf.constant(lengths, tf.int64))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int8", "int64", "bool", "complex64", "string"])
def test_every_dtype(dtype: str) -> None:
    def build() -> Any:
        t = tf.as_dtype(dtype)
        value = X.astype("S").astype(object) if dtype == "string" else X.astype(t.as_numpy_dtype)
        a = put(push(of(value), value[0]), 1, value[3])
        return stack(a, dtype=t), get(a, 4, dtype=t), gather(a, [2, 2, 0], dtype=t), length(a)

    check(build, runs=2)


def test_old_values_stay_as_they_were() -> None:
    def build() -> Any:
        a = of()
        b = put(a, 0, [9.0, 9.0, 9.0])
        c = push(a, [7.0, 7.0, 7.0])
        d = pop(c)
        return stack(a), stack(b), stack(c), stack(d.output_handle), d.tensor, get(a, 0)

    check(build)


def test_elements_that_are_not_there_are_zeros() -> None:
    def build() -> Any:
        a = put(reserve(3), 1, [1.0, 2.0])
        b = reserve(2, [2, -1])
        c = reserve(2, dtype=tf.string)
        return (
            stack(a), get(a, 0), gather(a, [0, 1]), get(b, 1, [-1, 3]), stack(b, [2, 3]), pop(a, [2]).tensor,
            get(c, 0, [2], tf.string), stack(reserve(0, [2])), gather(reserve(1, [2]), []),
            stack(push(r.TensorListResize(input_handle=a, size=5), [1.0, 2.0])),
        )  # fmt: skip

    check(build)


def test_element_shapes() -> None:
    def build() -> Any:
        lists = [reserve(1), reserve(1, [2, -1]), empty(SCALAR), of(shape=[-1]), of(shape=[3]), scatter([0, 1, 2, 3])]
        return [shape_of(a, t) for a in lists for t in (tf.int32, tf.int64)]

    check(build)


def test_growing_and_shrinking() -> None:
    def build() -> Any:
        a = put(empty(), 3, [1.0], resize_if_index_out_of_bounds=True)
        b = r.TensorListResize(input_handle=of(), size=2)
        return length(a), stack(a), stack(b), length(r.TensorListResize(input_handle=of(), size=0))

    check(build)


def test_scattering() -> None:
    def build() -> Any:
        a, b = scatter([5, 0, 2, 2]), scatter([5, 0, 2, 1], 8)
        c = r.TensorListScatterIntoExistingList(input_handle=of(), tensor=X[:2], indices=[1, 4])
        d = scatter([3, 0, 2, 1], -1)
        return length(a), stack(a), length(b), stack(b), stack(c), stack(d)

    check(build)


def test_splitting_and_concatenating() -> None:
    def build() -> Any:
        a = split([1, 0, 3])
        b = r.TensorListConcat(input_handle=a, element_dtype=tf.float32, element_shape=tf.TensorShape([None, 3]))
        c = put(reserve(3), 1, X)
        d = reserve(2, [2, 3])
        return [
            get(a, 1), get(a, 2), *concat(a), *b, *concat(c, leading=[1, 9, 2]), *concat(d), *concat(c),
            *concat(empty([-1, 3])), *concat(split([2, 2], X.astype("S").astype(object)), dtype=tf.string),
        ]  # fmt: skip

    check(build)


def test_lists_of_lists() -> None:
    def build() -> Any:
        both = r.TensorListConcatLists(input_a=of(), input_b=of(X + 100), element_dtype=tf.float32)
        nested = r.TensorListPushBack(input_handle=empty(SCALAR, dtype=tf.variant), tensor=of())
        rows = tf.stack([of(), of(X * 2)])
        more = r.TensorListPushBackBatch(input_handles=rows, tensor=X[:2])
        inner = stack(nested, SCALAR, tf.variant)[0]
        return stack(inner), stack(both), stack(more[0]), stack(more[1])

    check(build)


REFUSALS: dict[str, Any] = {
    "index beyond the list .*expected below 4, found 4": lambda: get(of(), 4),
    "index beyond the list .*found -1": lambda: get(of(), -1),
    "index beyond the list .*expected below 2, found 3": lambda: gather(put(reserve(2), 1, [1.0]), [0, 3]),
    "there is no element 0 yet and the element shape is not known .*found .?": lambda: get(reserve(1), 0),
    "no elements to stack and the element shape": lambda: stack(reserve(2)),
    "no elements to stack and the element shape is not known": lambda: stack(empty()),
    "the elements' shapes differ|shapes of the list and the op differ": lambda: stack(push(push(empty(), [1.0]), 1.0)),
    "shapes of the list and the op differ": lambda: stack(of(shape=[3]), unknown([2])),
    "the list has another length .*expected 3, found 4": lambda: stack(of(), num_elements=3),
    "there is no last element yet": lambda: pop(put(reserve(2), 0, [1.0])).tensor,
    "the list is empty": lambda: pop(empty()).tensor,
    "the list is full .*at most 1": lambda: length(push(push(empty(most=1), 1.0), 2.0)),
    "the tensor does not fit the list .*expected .2.": lambda: length(push(empty([2]), [1.0])),
    "the tensor does not fit": lambda: length(put(of(shape=[3]), 0, unknown([1.0]))),
    "the rows do not fit the list": lambda: length(of(shape=unknown([2]))),
    "the list holds another dtype": lambda: length(put(of(), 0, 1)),
    "lengths must add up": lambda: length(split([1, 2])),
    "lengths must add up .*": lambda: length(split([1, 4])),
    "as many rows as indices": lambda: length(scatter(unknown([0]))),
    "indices into a list": lambda: length(scatter([0, 1, 2, -1])),
    "index beyond the list": lambda: length(scatter([0, 1, 2, 4], 4)),
    "at least one dimension": lambda: concat(push(empty(), 1.0))[0],
    "no elements to concatenate": lambda: concat(empty())[0],
    "expected 0 or more, found -1": lambda: length(reserve(unknown(-1))),
    "the length of a list": lambda: length(r.TensorListResize(input_handle=of(), size=-1)),
    "an element shape that is a scalar": lambda: length(reserve(1, unknown(3))),
    "element shapes differ": lambda: length(
        r.TensorListConcatLists(input_a=of(), input_b=of(shape=[3]), element_dtype=tf.float32)
    ),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals(message: str) -> None:
    check(REFUSALS[message], refused=message)


def test_a_loop_and_its_gradient() -> None:
    def build() -> Any:
        tf.compat.v1.enable_control_flow_v2()
        try:
            x = tf.constant(np.linspace(-1, 1, 30, dtype=np.float32).reshape(5, 2, 3))
            w = tf.constant(np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3))
            inputs = of(x, [2, 3])

            def body(i: Any, h: Any, out: Any) -> Any:
                h = tf.tanh(get(inputs, i, [2, 3]) + tf.matmul(h, w))
                return i + 1, h, r.TensorListSetItem(input_handle=out, index=i, item=h)

            loop = tf.while_loop(lambda i, *_: i < 5, body, [0, tf.zeros([2, 3]), reserve(5, [2, 3])])
            out = stack(loop[2], [2, 3])
            return [out, loop[1], *tf.compat.v1.gradients(tf.reduce_sum(out * out), [x, w])]
        finally:
            tf.compat.v1.disable_control_flow_v2()

    check(build, runs=2, rtol=1e-4)
