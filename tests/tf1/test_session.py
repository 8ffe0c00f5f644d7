"""Sessions: structures of fetches, feeds, errors, and what a failed run leaves."""

from __future__ import annotations

import collections
import threading
from typing import Any

import numpy as np
import pytest

from tf1_programs import Program, run_both, same_error, tf1

Pair = collections.namedtuple("Pair", "left right")  # noqa: PYI024 - programs use it so


def _structures(tf: Any) -> Any:
    x, y = tf.constant([1.0, 2.0], name="x"), tf.constant(3)
    sparse = tf.SparseTensor([[0, 1]], [5.0], [2, 3])
    slices = tf.IndexedSlices(tf.constant([1.0]), tf.constant([2]))
    v = tf.Variable(7, name="v")
    with tf.Session() as sess:
        sess.run(v.initializer)
        pair = sess.run(Pair(x, [y]))
        held = sess.run(sparse)
        rows = sess.run(slices)
        return [sess.run([x, (y, {"a": x, "b": [y, y]})]), sess.run({"k": (x,)}), pair.left, pair.right, sess.run("x:0"),  # noqa: E501
                sess.run(["x:0", y]), sess.run(tf.no_op()), sess.run([x, tf.no_op()]), held.indices, held.values,
                held.dense_shape, rows.values, rows.indices, sess.run([]), sess.run(v), sess.run([v, v.op.name]), x.eval(),  # noqa: E501
                sess.run(collections.OrderedDict([("z", y), ("a", x)])), type(sess.run((x,))).__name__]  # fmt: skip


def _feeds(tf: Any) -> Any:
    x, i = tf.placeholder(tf.float32, [None, 2]), tf.placeholder(tf.int32, [])
    s, b = tf.placeholder(tf.string), tf.placeholder(tf.bool, [2])
    sparse = tf.sparse_placeholder(tf.float32)
    middle = x * 2.0
    y = middle + 1.0
    dense = tf.sparse_tensor_to_dense(sparse)
    default = tf.placeholder_with_default(4, [])
    with tf.Session() as sess:
        value = tf.SparseTensorValue([[0, 1]], [5.0], [1, 2])
        return [sess.run(y, {x: [[1, 2]]}), sess.run(y, {x: np.zeros((0, 2), np.float64)}), sess.run(y, {middle: [[3.0, 4.0]]}),  # noqa: E501
                sess.run([y, x], {"Placeholder:0": np.ones((1, 2))}), sess.run(i, {i: np.int64(5)}), sess.run(tf.string_join([s, s]), {s: ["a", "bc"]}), sess.run(b, {b: [True, False]}), sess.run(dense, {sparse: value}),  # noqa: E501
                sess.run(dense, {sparse: ([[0, 0]], [1.0], [1, 1])}), sess.run([default, default + 1]),
                sess.run(default, {default: 9}), y.eval({x: [[0.0, 0.0]]}), sess.run([i, i], {i: 3})]  # fmt: skip


def _callables(tf: Any) -> Any:
    x, y = tf.placeholder(tf.float32, []), tf.placeholder(tf.float32, [])
    with tf.Session() as sess:
        f = sess.make_callable([x + y, x * y], [x, y])
        g = sess.make_callable(tf.constant(3))
        h = sess.make_callable({"sum": [x + 1.0], "op": tf.no_op()}, [x], accept_options=True)
        told = h(1.0, options=tf.RunOptions(), run_metadata=tf.RunMetadata())
        devices = [(d.name, d.device_type, d.memory_limit_bytes) for d in sess.list_devices()][:1]
        return [f(1.0, 2.0), f(3.0, 4.0), g(), told, devices, tf.Session.reset("")]


def _sessions(tf: Any) -> Any:
    v = tf.Variable(1.0)
    add = v.assign_add(1.0)
    a, b = tf.Session(), tf.Session()
    for s in (a, b):
        s.run(v.initializer)
    a.run(add)
    a.run(add)
    out = [a.run(v), b.run(v), a.graph is tf.get_default_graph()]
    w = tf.Variable(5.0)  # the graph grows between runs
    a.run(w.initializer)
    out += [a.run(v + w)]
    a.close()
    with b.as_default():
        out += [v.eval(), tf.get_default_session() is b]
    out += [tf.get_default_session() is None]
    b.close()
    return out


def _interactive(tf: Any) -> Any:
    sess = tf.InteractiveSession()
    v = tf.Variable([1.0, 2.0])
    tf.global_variables_initializer().run()
    out = [v.eval(), (v * 2.0).eval(), tf.get_default_session() is sess]
    sess.close()
    sess.close()
    graph = tf.Graph()
    inner = tf.InteractiveSession(graph=graph)
    out += [tf.get_default_graph() is graph, tf.constant(2.0).eval(), tf.get_default_session() is inner]
    inner.close()
    return [*out, tf.get_default_graph() is graph, tf.get_default_session() is None]


PROGRAMS: dict[str, Program] = {
    "structures": _structures, "feeds": _feeds, "callables": _callables, "several sessions": _sessions,
    "interactive": _interactive,
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gives_what_it_does_in_tensorflow(name: str) -> None:
    run_both(PROGRAMS[name], graph=False)


def _run(fetch: Any, feeds: Any = None) -> Program:
    return lambda tf: tf.Session().run(fetch(tf), None if feeds is None else feeds(tf))


def _closed(tf: Any) -> Any:
    x, sess = tf.constant(1), tf.Session()
    sess.close()
    return sess.run(x)


def _foreign(tf: Any) -> Any:
    x = tf.constant(1)
    with tf.Graph().as_default():
        tf.constant(2)
        return tf.Session().run(x)


def _fed(dims: Any, value: Any, dtype: str = "float32") -> Program:
    def program(tf: Any) -> Any:
        x = tf.placeholder(getattr(tf, dtype), dims, name="x")
        return tf.Session().run(tf.identity(x), {x: value})

    return program


def _failing(tf: Any) -> Any:
    x = tf.placeholder(tf.float32, name="x")
    return tf.Session().run(tf.matmul(x, x, name="product"), {x: np.ones((2, 3))})


WRONG: dict[str, tuple[Program, str]] = {
    "fetch of None": (_run(lambda tf: [tf.constant(1), None]), "None"),
    "fetch of a number": (_run(lambda tf: [tf.constant(1), 3.5]), "invalid type"),
    "no such name": (_run(lambda tf: [tf.constant(1), "nothing:0"]), "nothing"),
    "closed": (_closed, "closed"),
    "another graph": (_foreign, "graph"),
    "empty graph": (lambda tf: tf.Session().run([]), "empty"),
    "fed shape": (_fed([None, 2], [1.0, 2.0]), "Cannot feed value of shape (2,) for Tensor 'x:0'"),
    "fed text": (_fed([], "a"), ""),
    "fed tensor": (lambda tf: _fed([], tf.constant(1.0))(tf), "cannot be a tf.Tensor object"),
    "fed large": (_fed([], 2**40, "int32"), ""),
    "not fed": (_run(lambda tf: tf.placeholder(tf.float32, name="input") + 1.0), "input"),
    "fed by a wrong key": (_run(lambda tf: tf.constant(1), lambda tf: {"no": 1}), "feed_dict key"),
    "uninitialized": (_run(lambda tf: tf.Variable(1.0, name="weights")), "weights"),
    "failing op": (_failing, "product"),
    "assertion": (_run(lambda tf: tf.Assert(tf.constant(False), ["wrong: ", tf.constant(7)])), "wrong: "),
    "callable of no list": (lambda tf: tf.Session().make_callable(tf.constant(1), tf.constant(2)), "feed_list"),
    "callable of nothing": (lambda tf: tf.Session().make_callable([tf.constant(1), "no:0"]), "no:0"),
    "index": (_run(lambda tf: tf.gather([1, 2], [5])), ""),
    "no default session": (lambda tf: tf.constant(1).eval(), "default session"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_by_the_same_class_of_error(name: str) -> None:
    same_error(*WRONG[name])


@pytest.mark.parametrize("resource", [False, True])
def test_a_failed_run_changes_nothing(resource: bool) -> None:
    with tf1.Graph().as_default(), tf1.Session() as sess:
        v, w = (tf1.Variable(1.0, use_resource=resource) for _ in range(2))
        x = tf1.placeholder(tf1.int32, [])
        first = v.assign_add(10.0)
        with tf1.control_dependencies([first]):
            second = w.assign_add(tf1.cast(tf1.constant(6) // x, tf1.float32))
        sess.run(tf1.global_variables_initializer())
        with pytest.raises(tf1.errors.InvalidArgumentError):
            sess.run([first, second], {x: 0})
        assert sess.run([v, w]) == [1.0, 1.0]
        sess.run([first, second], {x: 3})
        assert sess.run([v, w]) == [11.0, 3.0]


def test_threads_run_at_once_without_losing_updates() -> None:
    with tf1.Graph().as_default() as graph, tf1.Session() as sess:
        v = tf1.Variable(0, use_resource=True)
        add = v.assign_add(1, read_value=False)
        sess.run(v.initializer)
        errors: list[Exception] = []

        def work() -> None:
            try:
                with graph.as_default():
                    for _ in range(50):
                        sess.run(add)
            except Exception as e:
                errors.append(e)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not errors
        assert sess.run(v) == 200


def test_errors_tell_the_operation_that_failed() -> None:
    with tf1.Graph().as_default(), tf1.Session() as sess:
        x = tf1.placeholder(tf1.float32, name="x")
        y = tf1.matmul(x, x, name="product")
        with pytest.raises(tf1.errors.InvalidArgumentError) as caught:
            sess.run(y, {x: np.ones((2, 3))})
        assert caught.value.op is y.op
