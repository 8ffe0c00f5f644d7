"""Programs with control flow of the first generation, and what to feed them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import tensorflow as tf

from graphs import tf1

Program = Callable[[], Any]


def _scalar(name: str = "x") -> Any:
    return tf1.placeholder(tf.float32, [], name=name)


def _count() -> Any:
    return tf1.placeholder(tf.int32, [], name="n")


def nested_conds() -> Any:
    x, q = tf1.placeholder(tf.float32, [None], name="x"), _scalar("q")
    p = tf1.placeholder(tf.bool, [], name="p")
    y = tf1.cond(p, lambda: x + 1.0, lambda: tf1.cond(q > 0, lambda: x * 2.0, lambda: tf.constant([7.0])))
    z = tf1.cond(p, lambda: tf.constant(1.0), lambda: tf.constant(2.0))
    return [y * 3.0, z, tf1.cond(z > 1.5, lambda: y * z, lambda: y - z)]


def one_predicate_twice() -> Any:
    """The second cond needs what the first gives."""
    x = _scalar()
    p = x > 0
    y = tf1.cond(p, lambda: tf.sin(x), lambda: tf.cos(x))
    return [tf1.cond(p, lambda: y * 2.0, lambda: y + x), y]


def cond_of_several() -> Any:
    x = _scalar()
    return list(tf1.cond(x > 0, lambda: (x, x * 2.0, tf.constant(3)), lambda: (tf.exp(x), x, tf.constant(4))))


def number_of_the_branch() -> Any:
    """What a Merge tells besides: which of its inputs is alive."""
    x = _scalar()
    y = tf1.cond(x > 0, lambda: tf.sin(x), lambda: tf.cos(x))
    taken = y.op.outputs[1]
    return [taken, y, taken * 2]


def merge_that_waits_for_its_sides() -> Any:
    """What is left of a branch without results, as of an assertion's: a Merge of the predicate itself."""
    x = _scalar()
    p = x > 0
    no, yes = tf.raw_ops.Switch(data=p, pred=p)
    with tf.control_dependencies([tf.identity(no)]):
        asserted = tf1.Assert(x > -9.0, [x])
    with tf.control_dependencies([tf.identity(yes)]):
        passed = tf.no_op()
    with tf.control_dependencies([asserted, passed]):
        merged = tf.raw_ops.Merge(inputs=[no, yes]).output
    with tf.control_dependencies([merged]):
        return [x * 2.0, tf.identity(merged)]


def case_of_predicates() -> Any:
    x = _scalar()
    pairs = [(x < 0, lambda: -x), (x < 1, lambda: x * 10.0), (x < 2, lambda: tf.sqrt(x))]
    return [tf1.case(pairs, default=lambda: tf.constant(-1.0), exclusive=False)]


def merge_that_waits_for_a_branch() -> Any:
    """Functions that keep their steps in order join the sides of a variable's Switch, once the branch has run."""
    v = tf1.get_variable("v", initializer=np.int32(10), use_resource=True)
    p = tf1.placeholder(tf.bool, [], name="p")
    off, on = tf.raw_ops.Switch(data=v.handle, pred=p)
    with tf.control_dependencies([tf.raw_ops.AssignAddVariableOp(resource=on, value=1)]):
        joined = tf.raw_ops.Merge(inputs=[off, on]).output
    with tf.control_dependencies([joined]):
        return [tf.raw_ops.ReadVariableOp(resource=v.handle, dtype=tf.int32)]


def merges_that_wait_for_one_branch() -> Any:
    v = tf1.get_variable("v", initializer=np.int32(10), use_resource=True)
    p = tf1.placeholder(tf.bool, [], name="p")
    off, on = tf.raw_ops.Switch(data=v.handle, pred=p)
    step = tf.raw_ops.AssignAddVariableOp(resource=on, value=1)
    with tf.control_dependencies([step]):
        joined = tf.raw_ops.Merge(inputs=[off, on]).output
    other, _ = tf.raw_ops.Switch(data=joined, pred=p)
    two = tf.raw_ops.Switch(data=tf.constant(2), pred=p)
    with tf.control_dependencies([step, tf.raw_ops.AssignSubVariableOp(resource=other, value=5)]):
        both = tf.raw_ops.Merge(inputs=list(two)).output
    with tf.control_dependencies([both]):
        return [tf.raw_ops.ReadVariableOp(resource=v.handle, dtype=tf.int32), both]


def gradient_of_cond() -> Any:
    x = _scalar()
    y = tf1.cond(x > 0, lambda: tf.sin(x) * x, lambda: tf.exp(x) * tf.cos(x))
    z = y * y + x
    return [z, tf1.gradients(z, x)[0]]


def nested_loops() -> Any:
    """A loop in a loop with a cond, and a loop that only one branch of a cond runs."""
    x, n = _scalar(), _count()

    def body(i: Any, a: Any) -> Any:
        _, b = tf1.while_loop(lambda j, _: j < i, lambda j, b: (j + 1, b * 1.1 + tf.exp(-x)), (0, a))
        return i + 1, tf1.cond(b > 100.0, lambda: b / 2.0, lambda: b + 1.0)

    i, a = tf1.while_loop(lambda i, _: i < n, body, (0, x))
    c = tf1.cond(n > 3, lambda: tf1.while_loop(lambda k: k < 1000.0, lambda k: k * x + 1.0, [a]), lambda: a)
    return [i, a, c]


def variables_trade_places() -> Any:
    n = _count()
    return list(tf1.while_loop(lambda i, a, b: i < n, lambda i, a, b: (i + 1, b, a + b), (0, 1.0, 1.0)))


def long_condition() -> Any:
    """The condition and the body share what they compute, and an invariant goes into both."""
    x, n = _scalar(), _count()
    limit = tf.cast(n, tf.float32) * 2.0

    def going(i: Any, a: Any) -> Any:
        return tf.logical_and(i < n, tf.reduce_sum(tf.stack([a, x])) < limit * 3.0)

    return list(tf1.while_loop(going, lambda i, a: (i + 1, a + x * limit), (0, 0.5)))


def gradient_of_nested_loops() -> Any:
    x, n = _scalar(), _count()

    def body(i: Any, a: Any) -> Any:
        _, b = tf1.while_loop(lambda j, _: j < i, lambda j, b: (j + 1, tf.sin(b * 1.1) + tf.exp(-x)), (0, a))
        return i + 1, b

    i, a = tf1.while_loop(lambda i, _: i < n, body, (0, x))
    return [i, a, tf1.gradients(a, x)[0]]


def gradient_of_cond_in_loop() -> Any:
    x, n = _scalar(), _count()

    def body(i: Any, a: Any) -> Any:
        return i + 1, tf1.cond(tf.equal(i % 2, 0), lambda: tf.sin(a * x), lambda: a * a * x)

    _, a = tf1.while_loop(lambda i, _: i < n, body, (0, x))
    return [a, tf1.gradients(a, x)[0]]


def scan() -> Any:
    """Tensor arrays in a loop, and in its gradient."""
    x = tf1.placeholder(tf.float32, [None, 3], name="x")
    w = tf.constant(np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32))
    s = tf1.scan(lambda a, e: tf.tanh(tf.linalg.matvec(w, a) + e), x, initializer=tf.zeros([3]))
    return [s, tf1.gradients(s, x)[0]]


def mapped() -> Any:
    x = tf1.placeholder(tf.float32, [None, 3], name="x")
    return [tf1.map_fn(lambda r: tf1.cond(r[0] > 0, lambda: r * 2.0, lambda: tf.reverse(r, [0])), x)]


def gradient_of_map_in_branch() -> Any:
    """The loop of gradients runs only where the branch was taken, over an array that was made there."""
    p, x = tf1.placeholder(tf.bool, [], name="p"), tf.constant([1.0, 2.0, 3.0])
    y = tf1.cond(p, lambda: tf1.map_fn(lambda z: z * z, x), lambda: tf.constant([1.0, 1.0, 1.0]))
    return [tf1.gradients(y, x)[0], y]


def gradient_of_map_in_map() -> Any:
    """The handles of the inner loops' arrays go onto a stack."""
    x, w = tf1.placeholder(tf.float32, [None, 3], name="x"), tf.constant(3.0)
    y = tf1.map_fn(lambda row: tf1.map_fn(lambda z: z * w * w, row), x)
    return [y, tf1.gradients(y, w)[0], tf1.gradients(y, x)[0]]


def gradient_of_loops_over_one_array() -> Any:
    """A loop that stays, since its branch reads an array, before one that is raised; one branch alone is waited for."""
    x = _scalar()

    def step(i: Any, a: Any) -> Any:
        return i + 1, a.write(i, tf1.cond(tf.equal(i, 0), lambda: x, lambda: a.read(i - 1) * 2.0))

    array = tf1.TensorArray(tf.float32, 9, clear_after_read=False, element_shape=[])
    i, array = tf1.while_loop(lambda i, a: i < 4, step, [0, array])
    _, array = tf1.while_loop(lambda i, a: i < 9, lambda i, a: (i + 1, a.write(i, 0.0)), [i, array])
    return [tf1.gradients(array.stack(), x)[0]]


def grown_array() -> Any:
    """An array whose size nobody knows before."""
    n = _count()
    array = tf.TensorArray(tf.int32, size=0, dynamic_size=True, clear_after_read=False)
    _, array = tf1.while_loop(lambda i, _: i < n, lambda i, a: (i + 1, a.write(i, i * i)), (0, array))
    return [array.stack(), array.size()]


def grown_arrays() -> Any:
    """As decoders write: until a value tells them to stop; from the end; some of one that has places already."""
    n = _count()
    row = tf1.placeholder(tf.float32, [None], name="row")
    one, two, three = (tf.TensorArray(tf.float32, size=k, dynamic_size=True, clear_after_read=False) for k in (0, 0, 2))

    def body(i: Any, x: Any, a: Any, b: Any, c: Any) -> Any:
        y = x * 0.5 + 1.0
        return i + 1, y, a.write(i, y), b.write(n - i, y * 2.0), c.write(i, y)

    def going(i: Any, x: Any, *_: Any) -> Any:
        return tf.logical_and(i <= n, tf.reduce_sum(x) < 100.0)

    i, x, one, two, three = tf1.while_loop(going, body, (0, row, one, two, three))
    return [i, x, one.stack(), two.stack(), two.read(0), three.gather([0, 1])]


def steps() -> Any:
    """A resource variable counts the iterations and the branches that are taken."""
    n = _count()
    v = tf1.get_variable("v", initializer=10, use_resource=True)

    def body(i: Any) -> Any:
        with tf.control_dependencies([v.assign_add(1)]):
            return tf.identity(i) + 1

    with tf.control_dependencies([tf1.while_loop(lambda i: i < n, body, [0])]):
        taken = tf1.cond(n > 2, lambda: v.assign_add(100), lambda: tf.constant(0))
    with tf.control_dependencies([taken]):
        return [v.read_value()]


def references() -> Any:
    """A reference variable flows into branches (RefSwitch), which assign it."""
    n = _count()
    v = tf1.get_variable("v", initializer=10, use_resource=False)
    with tf.control_dependencies([tf1.cond(n > 2, lambda: tf1.assign_add(v, n), lambda: tf1.assign(v, 5))]):
        return [v.read_value()]


def references_beside_an_array() -> Any:
    """A loop that assigns a reference variable, and so stays, and a tensor array that has nothing to do with it."""
    n = _count()
    v = tf1.get_variable("v", initializer=10, use_resource=False)
    i = tf1.while_loop(lambda i: i < n, lambda i: i + tf1.assign(v, 1), [0])
    return [i, tf.TensorArray(tf.int32, 2).write(1, n).write(0, n * 2).stack()]


def fetched_flows() -> Any:
    """The numbers that only order what arrays do are fetched, as tools do that fetch every tensor."""
    x = tf1.placeholder(tf.float32, [None, 3], name="x")
    a = tf.TensorArray(tf.float32, tf.shape(x)[0], clear_after_read=False).unstack(x)
    b = tf.TensorArray(tf.float32, 2)
    _, b = tf1.while_loop(lambda i, _: i < 2, lambda i, b: (i + 1, b.write(i, a.read(i))), (0, b))
    return [a.flow, b.flow, b.stack()]


def strings() -> Any:
    n = _count()
    _, s = tf1.while_loop(lambda i, _: i < n, lambda i, s: (i + 1, tf1.strings.join([s, tf1.as_string(i)])), (0, "x"))
    return [s]


_ROWS: Final = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
_XS: Final = [{"x:0": x} for x in (1.5, -0.5, 0.3)]
_NS: Final = [{"n:0": n} for n in (0, 1, 5)]
_XNS: Final = [{"x:0": 0.7, **n} for n in _NS]

_SIDES: Final = [{"p:0": True}, {"p:0": False}, {"p:0": True}]
PROGRAMS: Final[list[tuple[Program, list[dict[str, Any]]]]] = [
    (nested_conds, [{"x:0": [1.0, 2.0], "p:0": p, "q:0": q} for p, q in ((True, 1.0), (False, 1.0), (False, -1.0))]),
    (one_predicate_twice, _XS),
    (cond_of_several, _XS),
    (merge_that_waits_for_a_branch, _SIDES),
    (merges_that_wait_for_one_branch, _SIDES),
    (number_of_the_branch, _XS),
    (merge_that_waits_for_its_sides, _XS),
    (case_of_predicates, _XS),
    (gradient_of_cond, _XS),
    (nested_loops, [{"x:0": x, "n:0": n} for x, n in ((1.5, 0), (1.5, 3), (2.5, 9))]),
    (variables_trade_places, _NS),
    (long_condition, _XNS),
    (gradient_of_nested_loops, _XNS),
    (gradient_of_cond_in_loop, _XNS),
    (scan, [{"x:0": _ROWS}]),
    (mapped, [{"x:0": _ROWS}]),
    (gradient_of_map_in_branch, [{"p:0": True}, {"p:0": False}]),
    (gradient_of_map_in_map, [{"x:0": _ROWS}]),
    (gradient_of_loops_over_one_array, _XS),
    (grown_array, _NS),
    (grown_arrays, [{"n:0": n, "row:0": _ROWS[0]} for n in (1, 6)]),
    (steps, _NS),
    (references, _NS),
    (references_beside_an_array, _NS),
    (fetched_flows, [{"x:0": _ROWS}]),
    (strings, _NS),
]
_REFERS: Final = "a reference to a variable flows through"
KEPT: Final = {  # what is not raised, and why
    references: _REFERS,
    references_beside_an_array: _REFERS,
    merges_that_wait_for_one_branch: "is needed by",
    gradient_of_map_in_branch: "on one of its branches",  # tensors go from branch to branch of conds of one predicate
    gradient_of_loops_over_one_array: "on one of its branches",
}
