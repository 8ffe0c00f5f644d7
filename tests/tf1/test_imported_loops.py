"""Branches and loops in meta graphs: further gradients through them, here and in TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow

import coldframe.tf1 as cf
from coldframe.formats import messages

v1 = tensorflow.compat.v1
X = np.random.RandomState(0).randn(4, 3).astype(np.float32)


@pytest.fixture(autouse=True, scope="module")
def first_generation() -> Iterator[None]:
    before = v1.resource_variables_enabled(), v1.control_flow_v2_enabled()
    v1.disable_resource_variables()
    v1.disable_control_flow_v2()
    yield
    if before[0]:
        v1.enable_resource_variables()
    if before[1]:
        v1.enable_control_flow_v2()


# --- programs ---------------------------------------------------------------------------------------------------
def _weights(tf: Any, shape: list[int], resource: bool = False) -> Any:
    return tf.get_variable("w", shape, initializer=tf.constant_initializer(0.2), use_resource=resource)


def _counted(tf: Any, times: int, step: Callable[[Any, Any], Any], y: Any) -> Any:
    return tf.while_loop(lambda i, _: i < times, lambda i, y: (i + 1, step(i, y)), [tf.constant(0), y])[1]


def plain(tf: Any, x: Any) -> Any:
    w = _weights(tf, [3, 3])
    return _counted(tf, 3, lambda i, y: tf.tanh(tf.matmul(y, w)), x)


def resource(tf: Any, x: Any) -> Any:
    w = _weights(tf, [3, 3], resource=True)
    return _counted(tf, 3, lambda i, y: tf.tanh(tf.matmul(y, w)), x)


def one_variable(tf: Any, x: Any) -> Any:
    return tf.while_loop(lambda y: tf.reduce_sum(tf.abs(y)) < 50.0, lambda y: y * 1.5 + x, [x])


def limited(tf: Any, x: Any) -> Any:
    return tf.while_loop(lambda y: tf.reduce_sum(y) < 9e9, lambda y: y * 1.5 + x, [x], maximum_iterations=2)


def two_results(tf: Any, x: Any) -> Any:
    _, y, z = tf.while_loop(
        lambda i, *_: i < 3, lambda i, y, z: (i + 1, y + z, z * x), [tf.constant(0), x, tf.ones([4, 3])]
    )
    return y * z


def nested(tf: Any, x: Any) -> Any:
    return _counted(tf, 3, lambda i, y: x * _counted(tf, 2, lambda j, z: tf.sin(z) + y * 0.1, y), x)


def with_branch(tf: Any, x: Any) -> Any:
    return _counted(tf, 4, lambda i, y: tf.cond(tf.equal(i % 2, 0), lambda: y * x, lambda: tf.sin(y)), x)


def within_branch(tf: Any, x: Any) -> Any:
    return tf.cond(tf.reduce_sum(x) > 0.0, lambda: _counted(tf, 3, lambda i, y: y * x, x), lambda: x * 3.0)


def branches(tf: Any, x: Any) -> Any:
    w = _weights(tf, [3])
    inner = lambda: tf.cond(x[0, 0] > 0.0, lambda: x * w, lambda: x)  # noqa: E731
    return tf.cond(tf.reduce_sum(x) > 0.0, inner, lambda: x * 3.0 - w)


def random(tf: Any, x: Any) -> Any:
    return _counted(tf, 3, lambda i, y: y * tf.random_uniform([4, 3], seed=3), x)


def arrays(tf: Any, x: Any) -> Any:
    w = _weights(tf, [6, 3])
    steps = [x * k for k in (1.0, 2.0, 0.5, 0.1, -1.0)]
    read, out = tf.TensorArray(tf.float32, 5).unstack(tf.stack(steps)), tf.TensorArray(tf.float32, 5)
    ends = tf.constant([5, 2, 3, 1])

    def body(t: Any, h: Any, o: Any) -> Any:
        new = tf.tanh(tf.matmul(tf.concat([read.read(t), h], 1), w))
        new = tf.where(tf.tile((t < ends)[:, None], [1, 3]), new, h)
        return t + 1, new, o.write(t, new)

    _, h, o = tf.while_loop(lambda t, *_: t < 5, body, [tf.constant(0), tf.zeros([4, 3]), out])
    return o.stack() * h


PROGRAMS: dict[str, Callable[[Any, Any], Any]] = {
    f.__name__: f for f in (plain, resource, one_variable, limited, two_results, nested, with_branch, within_branch,
                            branches, random, arrays)
}  # fmt: skip


def written(tf: Any, name: str) -> bytes:
    """Return the meta graph of a program, without gradients, as one of the two writes it."""
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        x = tf.placeholder(tf.float32, [4, 3], name="x")
        with tf.name_scope(name):  # functions' names must differ in one process of TensorFlow
            y = PROGRAMS[name](tf, x)
        tf.identity(y, name="y")
        made: bytes = tf.train.export_meta_graph().SerializeToString()
        return made


def read(tf: Any, meta: bytes, scope: str = "") -> tuple[Any, Any]:
    kind = messages.MetaGraphDef if tf is cf else v1.MetaGraphDef
    tf.set_random_seed(1)
    tf.train.import_meta_graph(kind.FromString(meta), import_scope=scope or None)
    graph = tf.get_default_graph()
    prefix = f"{scope}/" if scope else ""
    return graph.get_tensor_by_name(f"{prefix}x:0"), graph.get_tensor_by_name(f"{prefix}y:0")


def differentiated(tf: Any, meta: bytes, scope: str = "", before: bool = False) -> list[Any]:
    """Return values and new gradients of a meta graph, for inputs that take different branches."""
    with tf.Graph().as_default():
        x, y = read(tf, meta, scope)
        with tf.Session() as sess:
            if before:
                sess.run(tf.global_variables_initializer())
                sess.run(y, {x: X})
            grads = tf.gradients(y, [x, *tf.trainable_variables()])
            sess.run(tf.global_variables_initializer())
            return [v for data in (X, -X) for v in sess.run([y, *grads], {x: data})]


def close(ours: list[Any], theirs: list[Any]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients_through_a_graph_of_tensorflow(name: str) -> None:
    meta = written(v1, name)
    theirs = differentiated(v1, meta)
    close(differentiated(cf, meta), theirs)
    if name != "random":  # a run before moves the sequence on
        close(differentiated(cf, meta, "below", before=True), theirs)
    with cf.Graph().as_default():
        read(cf, meta)
        again = cf.train.export_meta_graph().SerializeToString()
    close(differentiated(v1, again), theirs)


# TensorFlow cannot differentiate branches in functions that are Switches and Merges, as those in loops made here are.
@pytest.mark.parametrize("name", sorted(PROGRAMS.keys() - {"with_branch"}))
def test_tensorflow_takes_gradients_through_a_graph_of_ours(name: str) -> None:
    theirs, meta = differentiated(v1, written(v1, name)), written(cf, name)
    close(differentiated(v1, meta), theirs)
    close(differentiated(cf, meta, "below"), theirs)


@pytest.mark.parametrize("name", ["branches", "with_branch", "nested", "within_branch"])
def test_contexts_are_those_of_tensorflow(name: str) -> None:
    meta = v1.MetaGraphDef.FromString(written(v1, name))
    with cf.Graph().as_default():
        read(cf, meta.SerializeToString())
        ours = v1.MetaGraphDef.FromString(cf.train.export_meta_graph().SerializeToString())
    with v1.Graph().as_default():
        v1.train.import_meta_graph(meta)
        theirs = v1.train.export_meta_graph()
    for key, kind in (("cond_context", "CondContextDef"), ("while_context", "WhileContextDef")):
        assert (key in ours.collection_def) == (key in theirs.collection_def)
        mine, wanted = (list(m.collection_def[key].bytes_list.value) for m in (ours, theirs))
        parse = getattr(messages, kind).FromString
        same_contexts([parse(m) for m in mine], [parse(m) for m in wanted])


def same_contexts(ours: list[Any], theirs: list[Any]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        mine, wanted = said(a), said(b)
        same_contexts(mine.pop("nested"), wanted.pop("nested"))
        assert mine == wanted


def said(context: Any) -> Any:
    """Return what a context says, apart from the order of values."""
    fields = {f.name: getattr(context, f.name) for f in context.DESCRIPTOR.fields}
    values = fields.pop("values_def")
    nested = [getattr(n, n.WhichOneof("ctxt")) for n in fields.pop("nested_contexts")]
    return {**{k: v if isinstance(v, (str, int)) else list(v) for k, v in fields.items()}, "nested": nested,
            "values": sorted(values.values), "external": dict(values.external_values)}  # fmt: skip


def test_contexts_made_here_say_what_those_of_tensorflow_say() -> None:
    found = {}
    for tf in (cf, v1):
        meta = messages.MetaGraphDef.FromString(written(tf, "branches"))
        raw = meta.collection_def["cond_context"].bytes_list.value
        found[tf] = [messages.CondContextDef.FromString(r) for r in raw]
    same_contexts(found[cf], found[v1])


def test_an_export_of_a_scope_has_its_contexts_alone() -> None:
    with cf.Graph().as_default():
        p = cf.placeholder(cf.bool, [], name="p")
        for scope in ("one", "two"):
            with cf.name_scope(scope):
                x = cf.placeholder(cf.float32, [], name="x")
                cf.cond(cf.identity(p), lambda x=x: x * 2.0, lambda x=x: x, name="choice")
        meta = cf.train.export_meta_graph(export_scope="two", unbound_inputs_col_name="unbound")
        contexts = meta.collection_def["cond_context"].bytes_list.value
        names = [messages.CondContextDef.FromString(c).pred_name for c in contexts]
        assert names == ["choice/pred_id:0"] * 2


def test_gradients_twice() -> None:
    meta = written(v1, "two_results")
    values = {}
    for tf in (cf, v1):
        with tf.Graph().as_default(), tf.Session() as sess:
            x, y = read(tf, meta)
            first = tf.gradients(y, x)[0]
            fetches = [first, tf.gradients(first, x)[0]] if tf is cf else [first]
            values[tf] = sess.run(fetches, {x: X})
            if tf is cf:
                h = 1e-3
                slope = [sess.run(first, {x: X + d}) for d in (-h, h)]
                np.testing.assert_allclose(values[cf][1], (slope[1] - slope[0]) / (2 * h), rtol=2e-2, atol=2e-2)
    np.testing.assert_allclose(values[cf][0], values[v1][0], rtol=1e-5)


def test_a_loop_of_another_form_is_refused() -> None:
    with cf.Graph().as_default():
        x = cf.constant(1.0)
        start = cf.raw_ops.Enter(data=x, frame_name="f")
        merged, _ = cf.raw_ops.Merge(inputs=[start, start])
        more = cf.raw_ops.LoopCond(input=merged < 5.0)
        out, again = cf.raw_ops.Switch(data=merged, pred=more)
        cf.raw_ops.NextIteration(data=again + 1.0)
        y = cf.raw_ops.Exit(data=out)
        with pytest.raises(LookupError, match="No gradient defined for the loop of 'Exit': it cannot be written"):
            cf.gradients(y, x)


def test_a_context_that_does_not_fit_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    meta = messages.MetaGraphDef.FromString(written(cf, "branches"))
    raw = meta.collection_def["cond_context"].bytes_list.value
    broken = messages.CondContextDef.FromString(raw[0])
    broken.pred_name = "nothing:0"
    raw[0] = broken.SerializeToString()
    with cf.Graph().as_default():
        read(cf, meta.SerializeToString())
        assert len(cf.get_collection("cond_context")) == 1
    assert "is left out" in caplog.text
