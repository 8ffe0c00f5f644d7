"""Operators of sparse tensors, beside TensorFlow's: values, nodes, gradients."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow.compat.v1 as reference

import coldframe.tf1 as own


def build(tf: Any) -> tuple[list[list[Any]], list[tuple[str, str]]]:
    with tf.Graph().as_default() as g:
        d, v = tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([1.0, 2.0])
        sp = tf.SparseTensor([[0, 0], [1, 1]], v, [2, 2])
        products = [sp * d, d * sp, sp / d, sp * 2.0, sp / 4.0]
        outputs = [p.values for p in products]
        nodes = [(op.name, op.type) for op in g.get_operations()]
        outputs += tf.gradients(outputs[:3], [v, d])  # TensorFlow's own gradient refuses scalars
        with tf.Session() as session:
            return [x.tolist() for x in session.run(outputs)], nodes


def test_products_and_quotients_with_dense_tensors() -> None:
    assert build(own) == build(reference)


def test_a_sum_with_a_dense_tensor_is_refused() -> None:
    sp = own.SparseTensor([[0]], [1.0], [1])
    with pytest.raises(TypeError):
        sp + 1.0
