"""Conditions, loops, TensorArrays and their gradients: numbers as TensorFlow's, whatever engine runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tf1_programs import Program, run_both, same_error, tf1


def _run(tf: Any, fetches: Any, feeds: Any = None, init: bool = True) -> Any:
    with tf.Session() as sess:
        if init:
            sess.run(tf.global_variables_initializer())
        return sess.run(fetches, feeds)


def _both(tf: Any, pred: Any, fetches: Any, feeds: Any = None) -> Any:
    return [_run(tf, fetches, {pred: value, **(feeds or {})}) for value in (True, False)]


# --- cond -------------------------------------------------------------------------------------------------------
def _nested_results(tf: Any) -> Any:
    p, x = tf.placeholder(tf.bool, []), tf.constant([1.0, 2.0])
    y = tf.cond(p, lambda: {"a": x + 1.0, "b": (x, [x * 2.0])}, lambda: {"a": x, "b": (x * 3.0, [x - 1.0])})
    one = tf.cond(p, lambda: [x], lambda: [x + 5.0])
    strict = tf.cond(p, lambda: [x], lambda: [x + 5.0], strict=True)
    ops = tf.cond(p, lambda: tf.no_op(), lambda: tf.group(x))
    return [isinstance(strict, list), isinstance(one, list), _both(tf, p, [y, one, strict]), ops.name]


def _assigning(tf: Any) -> Any:
    p = tf.placeholder(tf.bool, [])
    v = tf.Variable(1.0)
    r = tf.Variable(1.0, use_resource=True)
    y = tf.cond(p, lambda: v.assign_add(10.0), lambda: v + 0.0)
    z = tf.cond(p, lambda: r.assign_add(10.0).read_value(), lambda: r.read_value())
    out = []
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for value in (False, True, False, True):
            out += [sess.run([y, z], {p: value}), sess.run([v, r])]
    return out


def _batch_norm(tf: Any) -> Any:
    train = tf.placeholder(tf.bool, [])
    x = tf.placeholder(tf.float32, [None, 3])
    beta, gamma = tf.Variable(tf.zeros([3])), tf.Variable(tf.ones([3]))
    mean, variance = tf.nn.moments(x, [0])
    ema = tf.train.ExponentialMovingAverage(decay=0.5)

    def update() -> Any:
        with tf.control_dependencies([ema.apply([mean, variance])]):
            return tf.identity(mean), tf.identity(variance)

    m, v = tf.cond(train, update, lambda: (ema.average(mean), ema.average(variance)))
    y = tf.nn.batch_normalization(x, m, v, beta, gamma, 1e-3)
    loss = tf.reduce_mean(tf.square(y - 0.5))
    step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    data = np.random.RandomState(1).rand(5, 3).astype(np.float32)
    out = []
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for i in range(4):
            sess.run(step, {x: data + i, train: True})
            out.append(sess.run([loss, y], {x: data, train: False}))
        out += sess.run([ema.average(mean), ema.average(variance), beta, gamma])
    return out


def _cond_gradients(tf: Any) -> Any:
    p, q = tf.placeholder(tf.bool, []), tf.placeholder(tf.bool, [])
    x, w = tf.placeholder(tf.float32, [2]), tf.Variable([2.0, 3.0])
    inner = lambda: tf.cond(q, lambda: x * x * w, lambda: tf.sin(x))  # noqa: E731
    y = tf.cond(p, inner, lambda: x * 3.0)
    dx, dw = tf.gradients(y, [x, w])
    second = tf.gradients(tf.reduce_sum(dx * dx), x)[0]
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        feeds = [{p: a, q: b, x: [0.5, -1.0]} for a in (True, False) for b in (True, False)]
        return [sess.run([y, dx, dw, second], f) for f in feeds]


def _sparse_in_cond(tf: Any) -> Any:
    p, table = tf.placeholder(tf.bool, []), tf.Variable(np.ones((4, 2), np.float32))
    y = tf.cond(p, lambda: tf.reduce_sum(tf.gather(table, [1, 2]) * 3.0), lambda: tf.reduce_sum(table))
    g = tf.convert_to_tensor(tf.gradients(y, table)[0])
    return _both(tf, p, [y, g])


def _case(tf: Any) -> Any:
    x = tf.placeholder(tf.float32, [])
    small, large = (x < 1.0, lambda: x * 10.0), (x > 5.0, lambda: x * 100.0)
    y = tf.case([small, large], default=lambda: x)
    z = tf.case(
        {x < 1.0: lambda: tf.constant(1), x > 5.0: lambda: tf.constant(2)}, lambda: tf.constant(3), exclusive=True
    )
    g = tf.gradients(y, x)[0]
    return [_run(tf, [y, z, g], {x: value}) for value in (0.5, 3.0, 7.0)]


def _only_the_branch_runs(tf: Any) -> Any:
    p, x = tf.placeholder(tf.bool, []), tf.placeholder(tf.int32, [])
    y = tf.cond(p, lambda: tf.constant(10) // x, lambda: tf.constant(-1))
    return [_run(tf, y, {p: False, x: 0}), _run(tf, y, {p: True, x: 3})]


# --- loops ------------------------------------------------------------------------------------------------------
def _counting(tf: Any) -> Any:
    i = tf.while_loop(lambda i: i < 10, lambda i: i + 3, [0])
    i2, total = tf.while_loop(lambda i, s: i < 5, lambda i, s: (i + 1, s + tf.cast(i, tf.float32)), (0, 0.0))
    k = tf.while_loop(lambda i: True if False else i < 100, lambda i: i + 1, [tf.constant(0)], maximum_iterations=7)
    none = tf.while_loop(lambda i: i < 0, lambda i: i + 1, [tf.constant(0)])
    nested = tf.while_loop(
        lambda i, s: i < 3, lambda i, s: (i + 1, {"k": s["k"] + i, "x": (s["x"][0] * 2.0,)}), (0, {"k": 0, "x": (1.0,)})
    )
    same = tf.while_loop(lambda i: i < 3, lambda i: [i + 1], [tf.constant(0)], return_same_structure=True)
    return [_run(tf, [i, i2, total, k, none, nested, same])]


def _growing(tf: Any) -> Any:
    x = tf.constant([[1.0, 2.0]])
    _, y = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, tf.concat([y, y * 2.0], 0)), (0, x),
                         shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, 2])))  # fmt: skip
    g = tf.gradients(y, x)[0]
    return [y.shape, _run(tf, [y, g])]


def _nested_loops(tf: Any) -> Any:
    w = tf.Variable([[0.5, 0.2], [-0.3, 0.7]])
    x = tf.constant([[1.0, 2.0]])

    def outer(i: Any, h: Any) -> Any:
        _, h = tf.while_loop(lambda j, _: j < 2, lambda j, h: (j + 1, tf.tanh(tf.matmul(h, w)) + x), (0, h))
        return i + 1, h * 0.5

    _, y = tf.while_loop(lambda i, _: i < 3, outer, (0, x))
    loss = tf.reduce_sum(y * y)
    dw, dx = tf.gradients(loss, [w, x])
    return _run(tf, [y, loss, dw, dx])


def _cond_in_loop(tf: Any) -> Any:
    x = tf.placeholder(tf.float32, [])
    step = lambda i, s: (i + 1, tf.cond(tf.equal(i % 2, 0), lambda: s * x, lambda: s + x))  # noqa: E731
    _, y = tf.while_loop(lambda i, _: i < 5, step, (0, 1.0))
    g = tf.gradients(y, x)[0]
    return _run(tf, [y, g], {x: 1.5})


def _loop_in_cond(tf: Any) -> Any:
    p, x = tf.placeholder(tf.bool, []), tf.placeholder(tf.float32, [2])
    power = lambda: tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * x), (0, x))[1]  # noqa: E731
    y = tf.cond(p, power, lambda: x + 1.0)
    g = tf.gradients(y, x)[0]
    return _both(tf, p, [y, g], {x: np.array([2.0, 3.0], np.float32)})


def _loop_gradients(tf: Any) -> Any:
    x, w = tf.placeholder(tf.float32, [3]), tf.Variable(0.7)
    _, y, z = tf.while_loop(lambda i, *_: i < 4, lambda i, y, z: (i + 1, tf.sin(y * w), z + y * y), (0, x, x))
    loss = tf.reduce_sum(y) + tf.reduce_sum(z)
    dx, dw = tf.gradients(loss, [x, w])
    return _run(tf, [loss, dx, dw], {x: np.array([0.5, 1.0, -0.3], np.float32)})


def _loop_to_a_tensor(tf: Any) -> Any:
    x, n = tf.placeholder(tf.float32, []), tf.placeholder(tf.int32, [])
    y = tf.while_loop(lambda i, _: i < n, lambda i, y: (i + 1, y * x + tf.cast(i, tf.float32)), (0, 1.0))[1]
    g = tf.gradients(y, x)[0]
    return [_run(tf, [y, g], {x: 2.0, n: k}) for k in (0, 1, 5)]


def _variables_in_loops(tf: Any) -> Any:
    v = tf.Variable([1.0, 2.0])
    r = tf.Variable([1.0, 2.0], use_resource=True)

    def step(i: Any, s: Any) -> Any:
        return i + 1, s + tf.reduce_sum(v) * tf.reduce_sum(tf.gather(r, [0]))

    y = tf.while_loop(lambda i, _: i < 3, step, (0, 0.0))[1]
    gv, gr = tf.gradients(y, [v, r])
    return _run(tf, [y, gv, tf.convert_to_tensor(gr)])


def _writing_in_loops(tf: Any) -> Any:
    v = tf.Variable(0.0, use_resource=True)

    def step(i: Any) -> Any:
        with tf.control_dependencies([v.assign_add(2.0)]):
            return tf.identity(i) + 1

    done = tf.while_loop(lambda i: i < 5, step, [0])
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        return [sess.run(done), sess.run(v)]


# --- TensorArrays, and loops over a first axis ------------------------------------------------------------------
def _arrays(tf: Any) -> Any:
    x = tf.constant(np.arange(6, dtype=np.float32).reshape(3, 2))
    a = tf.TensorArray(tf.float32, size=3, clear_after_read=False).unstack(x)
    b = tf.TensorArray(tf.float32, size=0, dynamic_size=True, clear_after_read=False)
    b = b.write(0, [1.0]).write(2, [3.0]).write(1, a.read(1)[:1])
    c = tf.TensorArray(tf.float32, 2, infer_shape=False).split(x, [1, 2])
    d = tf.TensorArray(tf.float32, 4, element_shape=[2]).scatter([3, 0, 1, 2], tf.concat([x, x[:1]], 0))
    y = [a.stack(), a.gather([2, 0]), b.stack(), b.size(), c.concat(), d.stack(), b.read(2), a.size()]
    g = tf.gradients(tf.reduce_sum(d.stack() * 2.0) + tf.reduce_sum(a.read(1) ** 2), x)[0]
    return _run(tf, [*y, g], init=False)


def _array_in_loop(tf: Any) -> Any:
    x, n = tf.placeholder(tf.float32, [2]), tf.placeholder(tf.int32, [])
    first = tf.TensorArray(tf.float32, size=0, dynamic_size=True)

    def step(i: Any, h: Any, written: Any) -> Any:
        h = tf.tanh(h * 1.5 + x)
        return i + 1, h, written.write(i, h)

    _, _, written = tf.while_loop(lambda i, *_: i < n, step, (0, x, first))
    y = written.stack()
    g = tf.gradients(tf.reduce_sum(y * y), x)[0]
    return [_run(tf, [y, g], {x: np.array([0.1, -0.2], np.float32), n: k}) for k in (1, 4)]


def _mapped(tf: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 2])
    w = tf.Variable([2.0, 3.0])
    square = tf.map_fn(lambda r: r * r * w, x)
    kinds = tf.map_fn(lambda r: (tf.reduce_sum(r), tf.cast(r[0], tf.int32)), x, dtype=(tf.float32, tf.int32))
    pairs = tf.map_fn(lambda t: t[0] + t[1], (x, x * 2.0), dtype=tf.float32)
    index = tf.map_fn(lambda i: tf.cast(i, tf.float32) * w, tf.range(3), dtype=tf.float32)
    g = tf.gradients(tf.reduce_sum(square) + tf.reduce_sum(pairs) + tf.reduce_sum(index), [x, w])
    return _run(tf, [square, kinds, pairs, index, g], {x: np.arange(6, dtype=np.float32).reshape(3, 2)})


def _folded(tf: Any) -> Any:
    x = tf.placeholder(tf.float32, [4])
    totals = [tf.foldl(lambda a, e: a * 0.5 + e, x), tf.foldr(lambda a, e: a * 0.5 + e, x),
              tf.foldl(lambda a, e: a * 0.5 + e, x, initializer=1.0), tf.foldr(lambda a, e: a - e, x, 2.0),
              tf.scan(lambda a, e: a * e, x), tf.scan(lambda a, e: a + e, x, initializer=10.0),
              tf.scan(lambda a, e: a + e, x, reverse=True),
              tf.scan(lambda a, e: (a[0] + e, a[1] * e), x, initializer=(0.0, 1.0))]  # fmt: skip
    loss = tf.add_n([tf.reduce_sum(t) for t in [*totals[:7], *totals[7]]])
    return _run(tf, [totals, tf.gradients(loss, x)[0]], {x: np.array([1.0, 2.0, 3.0, 4.0], np.float32)})


def _recurrent_scan(tf: Any) -> Any:
    x, w = tf.placeholder(tf.float32, [5, 2, 3]), tf.Variable(np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3))
    states = tf.scan(lambda h, e: tf.tanh(tf.matmul(h, w) + e), x, initializer=tf.zeros([2, 3]))
    loss = tf.reduce_mean(tf.square(states))
    step = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        data = {x: np.sin(np.arange(30, dtype=np.float32)).reshape(5, 2, 3)}
        return [sess.run([loss, step], data)[0] for _ in range(3)] + [sess.run(w)]


PROGRAMS: dict[str, Program] = {
    "nested results": _nested_results,
    "assigning": _assigning,
    "batch norm": _batch_norm,
    "gradients of conditions": _cond_gradients,
    "sparse gradients of conditions": _sparse_in_cond,
    "case": _case,
    "only the branch runs": _only_the_branch_runs,
    "counting": _counting,
    "growing": _growing,
    "nested loops": _nested_loops,
    "condition in a loop": _cond_in_loop,
    "loop in a condition": _loop_in_cond,
    "gradients of loops": _loop_gradients,
    "as many rounds as fed": _loop_to_a_tensor,
    "variables in loops": _variables_in_loops,
    "writing in loops": _writing_in_loops,
    "arrays": _arrays,
    "array in a loop": _array_in_loop,
    "map_fn": _mapped,
    "fold and scan": _folded,
    "recurrent scan": _recurrent_scan,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gives_what_it_does_in_tensorflow(name: str) -> None:
    run_both(PROGRAMS[name], graph=False, rtol=2e-5)


@pytest.mark.parametrize("engine", ["reference", "onnxruntime", "xla"])
@pytest.mark.parametrize("name", ["gradients of conditions", "nested loops", "gradients of loops", "array in a loop",
                                  "fold and scan", "recurrent scan", "condition in a loop"])  # fmt: skip
def test_engines_agree(name: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == "xla":
        pytest.importorskip("jax")
    monkeypatch.setenv("COLDFRAME_ENGINE", engine)
    run_both(PROGRAMS[name], graph=False, rtol=5e-5)


def test_random_numbers_of_a_loop_are_those_that_its_gradient_saw() -> None:
    with tf1.Graph().as_default(), tf1.Session() as sess:
        x = tf1.constant(np.ones(1000, np.float32))

        def step(i: Any, h: Any, masks: Any) -> Any:
            mask = tf1.cast(tf1.random_uniform([1000], seed=3) > 0.5, tf1.float32)
            return i + 1, h * mask * 2.0, masks * mask

        _, y, masks = tf1.while_loop(lambda i, *_: i < 3, step, (0, x, tf1.ones([1000])))
        g = tf1.gradients(y, x)[0]
        for _ in range(3):
            kept, values, grads = sess.run([masks, y, g])
            np.testing.assert_array_equal(grads, kept * 8.0)
            np.testing.assert_array_equal(values, kept * 8.0)
            assert 60 < kept.sum() < 190


def test_gradients_of_loops_agree_with_finite_differences() -> None:
    with tf1.Graph().as_default(), tf1.Session() as sess:
        x = tf1.placeholder(tf1.float64, [3])
        _, y = tf1.while_loop(lambda i, _: i < 5, lambda i, y: (i + 1, tf1.sin(y) * 1.3 + x * y), (0, x))
        loss = tf1.reduce_sum(y)
        g = tf1.gradients(loss, x)[0]
        at, d = np.array([0.3, -0.4, 0.8]), 1e-6
        numeric = [(sess.run(loss, {x: at + d * e}) - sess.run(loss, {x: at - d * e})) / (2 * d) for e in np.eye(3)]
        np.testing.assert_allclose(sess.run(g, {x: at}), numeric, rtol=1e-6)


def _twice(tf: Any, kind: str, at: Any) -> Any:
    """Return a loss of a loop whose gradient is not constant."""
    if kind == "power":
        step = lambda i, y: (i + 1, tf.sin(y) * 1.3 + at * y)  # noqa: E731
    elif kind == "nested":
        inner = lambda j, y: (j + 1, tf.sin(y * at))  # noqa: E731
        step = lambda i, y: (i + 1, tf.while_loop(lambda j, _: j < 2, inner, (0, y))[1] + y)  # noqa: E731
    else:
        step = lambda i, y: (i + 1, tf.cond(tf.equal(i % 2, 0), lambda: y * at * y, lambda: tf.sin(y) + at))  # noqa: E731
    return tf.reduce_sum(tf.while_loop(lambda i, _: i < 3, step, (0, at))[1])


@pytest.mark.parametrize("engine", ["reference", "auto"])
@pytest.mark.parametrize("kind", ["power", "nested", "condition"])
def test_second_gradients_of_loops_which_tensorflow_1_has_not_agree_with_finite_differences(
    kind: str, engine: str
) -> None:
    with tf1.Graph().as_default(), tf1.Session(engine=engine) as sess:
        x = tf1.placeholder(tf1.float64, [2])
        w = tf1.Variable(np.array([0.9, 0.7]))
        first = tf1.gradients(_twice(tf1, kind, x * w), [x, w])
        second = [tf1.gradients(tf1.reduce_sum(first[0]), x)[0], tf1.gradients(tf1.reduce_sum(first[1]), x)[0]]
        sess.run(w.initializer)
        at, d = np.array([0.3, 0.8]), 1e-6
        sums = lambda i, p: sess.run(tf1.reduce_sum(first[i]), {x: p})  # noqa: E731
        for i in (0, 1):
            numeric = [(sums(i, at + d * e) - sums(i, at - d * e)) / (2 * d) for e in np.eye(2)]
            np.testing.assert_allclose(sess.run(second[i], {x: at}), numeric, rtol=1e-5)


def _wide(tf: Any) -> Any:
    return tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, tf.concat([x, x], 0)), (0, tf.ones([1])))


WRONG: dict[str, tuple[Program, str]] = {
    "python bool": (lambda tf: tf.cond(True, lambda: 1, lambda: 2), "pred must not be a Python bool"),
    "no function": (lambda tf: tf.cond(tf.constant(True), 3, lambda: 2), "callable"),
    "dtypes": (lambda tf: tf.cond(tf.placeholder(tf.bool, []), lambda: tf.constant(1), lambda: tf.constant(1.0)), "type"),  # noqa: E501
    "structures": (lambda tf: tf.cond(tf.placeholder(tf.bool, []), lambda: [tf.constant(1)] * 2, lambda: tf.constant(1)), ""),  # noqa: E501
    "no loop variables": (lambda tf: tf.while_loop(lambda: True, list, []), "No loop variables"),
    "no body": (lambda tf: tf.while_loop(lambda i: i < 3, 3, [0]), "callable"),
    "number of results": (lambda tf: tf.while_loop(lambda i, j: i < 3, lambda i, j: i, (0, 0)), ""),
    "shape grows": (_wide, "is not an invariant for the loop"),
    "case of nothing": (lambda tf: tf.case([]), ""),
    "case without a function": (lambda tf: tf.case([(tf.constant(True), 3)]), ""),
    "scalar elements": (lambda tf: tf.map_fn(lambda x: x, tf.constant(1.0)), ""),
    "array read beyond": (lambda tf: tf.Session().run(tf.TensorArray(tf.float32, 1).read(5)), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_by_the_same_class_of_error(name: str) -> None:
    same_error(*WRONG[name])


def test_dtypes_that_change_are_refused_while_the_graph_is_built() -> None:
    with tf1.Graph().as_default():
        with pytest.raises(TypeError, match="has dtype int32, but its next value"):
            tf1.while_loop(lambda i: i < 3, lambda i: tf1.cast(i, tf1.float32), [0])
        with pytest.raises(ValueError, match="TensorArray dtype is float32 but value has dtype int32"):
            tf1.TensorArray(tf1.float32, 1).write(0, tf1.constant(1))


def test_no_condition_of_a_case_holds() -> None:
    with tf1.Graph().as_default(), tf1.Session() as sess:
        y = tf1.case([(tf1.constant(False), lambda: tf1.constant(1))])
        with pytest.raises(tf1.errors.InvalidArgumentError, match="no condition of a case"):
            sess.run(y)
