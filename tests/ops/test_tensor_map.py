"""Tensor maps against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import ExecutionError
from coldframe.runtime.session import Session
from graph_oracle import check

r = tf.raw_ops


def of(*entries: tuple[Any, Any]) -> Any:
    m = r.EmptyTensorMap()
    for key, value in entries:
        m = r.TensorMapInsert(input_handle=m, key=key, value=value)
    return m


def get(m: Any, key: Any, dtype: Any = tf.float32) -> Any:
    return r.TensorMapLookup(input_handle=m, key=key, value_dtype=dtype)


def erase(m: Any, key: Any) -> Any:
    return r.TensorMapErase(input_handle=m, key=key, value_dtype=tf.float32)


def has(m: Any, key: Any) -> Any:
    return r.TensorMapHasKey(input_handle=m, key=key)


def size(m: Any) -> Any:
    return r.TensorMapSize(input_handle=m)


KEYS = [
    np.int32(3), np.int64(3), np.float32(0.5), np.float64(0.5), b"word", np.array([1, 2], np.int32),
    np.array([[1, 2]], np.int32), np.array([b"a", b"b"], object), np.array(True), np.zeros(0, np.int32),
]  # fmt: skip


def test_keys_of_every_kind_are_told_apart() -> None:
    def build() -> Any:
        m = of(*((k, float(i)) for i, k in enumerate(KEYS)))
        return [*(get(m, k) for k in KEYS), *(has(m, k) for k in (*KEYS, np.int32(4), b"words")), size(m)]

    check(build)


@pytest.mark.parametrize("kind", ["float16", "int64", "bool", "complex64", "string", "bfloat16"])
def test_values_of_every_dtype(kind: str) -> None:
    def build() -> Any:
        value = tf.constant([b"a", b""]) if kind == "string" else tf.cast([1, 0], kind)
        return get(of((1, value)), 1, tf.as_dtype(kind))

    check(build)


def test_old_values_stay_as_they_were() -> None:
    def build() -> Any:
        a = of((1, [1.0, 2.0]), (2, [3.0]))
        b = of((1, 5.0))
        changed = r.TensorMapInsert(input_handle=a, key=1, value=7.0)
        erased = erase(changed, 2)
        return [
            get(a, 1), get(changed, 1), get(changed, 2), has(erased, 2), size(a), size(erased), size(b),
            size(tf.zeros_like(a)), has(tf.zeros_like(a), 1), get(r.AddN(inputs=[b, of((1, 2.0), (9, 1.0))]), 1),
            r.TensorMapStackKeys(input_handle=erased, key_dtype=tf.int32), size(of()),
        ]  # fmt: skip

    check(build, runs=2)


def test_maps_of_maps_and_through_branches() -> None:
    def build() -> Any:
        inner = of((1, 4.0))
        outer = of((b"m", inner))
        branch = tf.compat.v1.placeholder_with_default(True, [])
        chosen = tf.cond(branch, lambda: of((1, 1.0)), lambda: of((1, 2.0)))
        return get(get(outer, b"m", tf.variant), 1), get(chosen, 1)

    check(build)


def test_stacked_keys() -> None:
    keys = [[2, 1], [3, 9], [0, 0]]

    def build() -> Any:
        stacked = r.TensorMapStackKeys(input_handle=of(*((k, 0.0) for k in keys)), key_dtype=tf.int32)
        return tf.sort(stacked, axis=0)

    check(build)
    with tf.Graph().as_default() as g:
        name = r.TensorMapStackKeys(input_handle=of(*((k, 0.0) for k in keys)), key_dtype=tf.int32).name
    assert Session(g.as_graph_def()).run(name).tolist() == keys, "in the order in which they were put in"


REFUSED = {
    "the key is not in the tensor map.*found 7": lambda: get(of((1, 1.0)), 7),
    "the key is not in the tensor map.*found 1": lambda: erase(of((np.int64(1), 1.0)), 1),
    "another dtype at the key.*expected float32, found int32": lambda: get(of((1, 1.0)), 1, tf.int32),
    "an empty tensor map has no keys": lambda: r.TensorMapStackKeys(input_handle=of(), key_dtype=tf.int32),
    "the keys of the tensor map differ.*expected int32": lambda: r.TensorMapStackKeys(
        input_handle=of((1, 1.0), ([1], 1.0)), key_dtype=tf.int32
    ),
    "the keys of the tensor map differ.*expected int64": lambda: r.TensorMapStackKeys(
        input_handle=of((1, 1.0)), key_dtype=tf.int64
    ),
    "not a tensor map.*found TensorList": lambda: size(
        r.EmptyTensorList(element_shape=-1, max_num_elements=-1, element_dtype=tf.float32)
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals(message: str) -> None:
    check(REFUSED[message], refused=message)


def test_only_maps_add_up() -> None:
    def build() -> Any:
        empty = r.EmptyTensorList(element_shape=-1, max_num_elements=-1, element_dtype=tf.float32)
        return size(r.AddN(inputs=[of((1, 1.0)), empty]))

    with tf.Graph().as_default() as g:
        name = build().name
    with pytest.raises(ExecutionError, match="not a tensor map to add"):
        Session(g.as_graph_def(), "reference").run(name)
