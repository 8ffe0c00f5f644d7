"""Graphs with gradients of whole functions (`Defun`), which TensorFlow wrote as one node each: imported and run."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow
from tensorflow.core.framework import attr_value_pb2
from tensorflow.python.framework import function
from tensorflow.python.ops import functional_ops

import coldframe.tf1 as cf
from coldframe.errors import UnsupportedOpError

tf = tensorflow.compat.v1
F, I = tf.float32, tf.int32
Make = Callable[[Any, Any], Any]
_NUMBERS = itertools.count()


def defun(*types: Any, **options: Any) -> Any:
    """Return the decorator that makes a function of TensorFlow 1; lambdas need a name."""
    return function.Defun(*types, func_name=f"f{next(_NUMBERS)}", **options)


def two_results(x: Any, y: Any) -> Any:
    f = defun(F, F)(lambda a, b: (tf.sin(a) * b + tf.matmul(a, b), tf.exp(b)))
    return tf.gradients(f(x, y), [x, y])


def broadcast(x: Any, y: Any) -> Any:
    f = defun(F, F)(lambda a, b: tf.nn.relu(a + b[0]) * 2.0)
    return tf.gradients(f(x, y), [x, y])


def unused(x: Any, y: Any) -> Any:
    f = defun(F, F)(lambda a, b: tf.reduce_sum(tf.square(a)))
    return tf.gradients(f(x, y), [x, y])


def with_integers(x: Any, y: Any) -> Any:
    f = defun(F, I)(lambda a, n: (a * tf.cast(n, F) * 3.0, n + 1))
    return tf.gradients(f(x, tf.constant([1, 4]))[0], x)


def own_gradient(x: Any, y: Any) -> Any:
    back = defun(F, F)(lambda a, dy: dy * 7.0 + a)
    f = defun(F, grad_func=back)(lambda a: a * a)
    return tf.gradients(f(x) * y, [x, y])


def nested(x: Any, y: Any) -> Any:
    inner = defun(F)(lambda a: tf.tanh(a) * a)
    f = defun(F, F)(lambda a, b: inner(a) + inner(inner(b)))
    return tf.gradients(f(x, y), [x, y])


def nested_own_gradient(x: Any, y: Any) -> Any:
    back = defun(F, F)(lambda a, dy: dy * 5.0)
    inner = defun(F, grad_func=back)(lambda a: tf.tanh(a) * a)
    f = defun(F, F)(lambda a, b: inner(a) * b)
    return tf.gradients(f(x, y), [x, y])


def gradient_inside(x: Any, y: Any) -> Any:
    inner = defun(F)(lambda a: tf.exp(a) * a)

    def step(a: Any, b: Any) -> Any:
        return a - 0.1 * tf.gradients(inner(a) * b, a)[0]

    return defun(F, F)(step)(x, y)


def twice(x: Any, y: Any) -> Any:
    f = defun(F)(lambda a: tf.sigmoid(a) ** 2)
    return [tf.gradients(f(x), x)[0] + tf.gradients(f(y), y)[0], tf.gradients(f(f(x)), x)[0]]


def of_an_op(x: Any, y: Any) -> Any:
    attr = attr_value_pb2.AttrValue(type=F.as_datatype_enum)
    f = attr_value_pb2.NameAttrList(name="Mul", attr={"T": attr})
    return functional_ops.symbolic_gradient(input=[x, y, x + 1.0], Tout=[F, F], f=f)


def captured(x: Any, y: Any) -> Any:
    f = defun(F)(lambda a: tf.matmul(a, y) + y)
    return tf.gradients(f(x), [x, y])


def sums(x: Any, y: Any) -> Any:
    f = defun(F, F)(lambda a, b: tf.reduce_mean(tf.square(tf.nn.softmax(b) - a), 1))
    return tf.gradients(f(x, y), [x])


PROGRAMS: dict[str, Make] = {
    f.__name__: f
    for f in (
        two_results, broadcast, unused, with_integers, own_gradient, nested, nested_own_gradient, gradient_inside,
        twice, of_an_op, captured, sums,
    )
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _first_generation() -> Any:
    before = tf.control_flow_v2_enabled()
    tf.disable_control_flow_v2()
    yield
    if before:
        tf.enable_control_flow_v2()


@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients_of_functions(name: str) -> None:
    rng = np.random.default_rng(3)
    feeds = {"x:0": rng.standard_normal((2, 2), np.float32), "y:0": rng.standard_normal((2, 2), np.float32)}
    with tf.Graph().as_default() as theirs:
        x, y = tf.placeholder(F, [2, 2], name="x"), tf.placeholder(F, [2, 2], name="y")
        made = PROGRAMS[name](x, y)
        names = [t.name for t in (made if isinstance(made, (list, tuple)) else [made])]
        with tf.Session() as session:
            want = session.run(names, feeds)
    proto = theirs.as_graph_def()
    spelled = [n.op for n in proto.node] + [n.op for f in proto.library.function for n in f.node_def]
    assert "SymbolicGradient" in spelled
    with cf.Graph().as_default() as ours:
        cf.import_graph_def(proto.SerializeToString(), name="")
        with cf.Session() as session:
            found = session.run(names, feeds)
    for f, w in zip(found, want, strict=True):
        np.testing.assert_allclose(f, w, 1e-5, 1e-6)
    with tf.Graph().as_default():  # and back
        again = type(proto).FromString(ours.as_graph_def().SerializeToString())
        tf.import_graph_def(again, name="")
        with tf.Session() as session:
            for f, w in zip(session.run(names, feeds), want, strict=True):
                np.testing.assert_allclose(f, w, 1e-5, 1e-6)


def test_further_gradients_call_the_function_that_is_the_gradient() -> None:
    with tf.Graph().as_default() as theirs:
        x = tf.placeholder(F, [2], name="x")
        back = defun(F, F)(lambda a, dy: dy * 7.0 + a)
        y = defun(F, grad_func=back)(lambda a: a * a)(x)
    with cf.Graph().as_default():
        x, y = cf.import_graph_def(
            theirs.as_graph_def().SerializeToString(), return_elements=["x:0", y.name], name="import"
        )
        with cf.Session() as session:
            assert session.run(cf.gradients(y * 2.0, x)[0], {x: [1.0, 2.0]}).tolist() == [15.0, 16.0]


def test_a_function_without_gradient_is_refused_where_it_runs() -> None:
    with tf.Graph().as_default() as theirs:
        x = tf.placeholder(F, [2], name="x")
        f = defun(F)(lambda a: tf.raw_ops.Betainc(a=a, b=a, x=tf.raw_ops.IgammaGradA(a=a, x=a)))
        y = f(x)
        dx = tf.gradients(y, x)[0]
    with cf.Graph().as_default():
        cf.import_graph_def(theirs.as_graph_def().SerializeToString(), name="")
        with cf.Session() as session:
            session.run(y.name, {"x:0": [0.5, 0.5]})
            with pytest.raises((cf.errors.UnimplementedError, UnsupportedOpError), match="SymbolicGradient"):
                session.run(dx.name, {"x:0": [0.5, 0.5]})
